import pytest
import torch

from napari_mrgen.metrics.features import Features, raw_features
from napari_mrgen.metrics.images import blur


def test_real_slices_have_about_unit_variance(heads):
    train, _ = heads
    found = Features.fit(train.images)(train.images)
    assert float(found.square().mean()) == pytest.approx(1, rel=0.05)
    assert torch.allclose(found.mean(0), torch.zeros(found.shape[1]), atol=1e-3)


def test_the_same_slices_have_the_same_features(heads):
    train, held_out = heads
    one, other = (Features.fit(train.images)(held_out.images) for _ in range(2))
    assert torch.equal(one, other)


def test_a_slice_and_its_mirror_image_are_described_alike(heads):
    images = heads[0].images[:5]
    assert torch.allclose(raw_features(images), raw_features(images.flip(-1)), atol=1e-4)
    assert not torch.allclose(raw_features(images), raw_features(images.flip(-2)), atol=0.1)


def test_a_small_shift_matters_less_than_blur(heads):
    train, _ = heads
    features = Features.fit(train.images)
    as_is = features(train.images)
    shifted = (features(train.images.roll(1, -1)) - as_is).norm()
    assert shifted < 0.5 * (features(blur(train.images, 1.0)) - as_is).norm()


@pytest.mark.parametrize("shape", [(16, 16), (40, 24), (200, 256)])
def test_any_size_of_image_will_do(shape):
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    found = Features.fit(images)(images)
    assert found.isfinite().all()
    assert found.shape == (3, 2)
