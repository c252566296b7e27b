import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from napari_mrgen.metrics.distributions import ImageSet
from napari_mrgen.metrics.images import ssim
from napari_mrgen.metrics.matching import best_match, ms_ssim, pair_similarity


def test_a_slice_finds_itself_and_its_mirror_image(heads):
    gallery = heads[0]
    wanted = torch.tensor([3, 17, 31])
    images = gallery.images[wanted]
    images = torch.cat([images, images.flip(-1)])
    similarity, index = best_match(ImageSet(images), gallery)
    assert index.tolist() == wanted.repeat(2).tolist()
    assert similarity.numpy() == pytest.approx(1, abs=1e-5)


def test_nobody_is_matched_with_his_own_slices(heads):
    slices = heads[0]
    _, index = best_match(slices, slices)
    assert all(slices.subjects[i] != name for i, name in zip(index, slices.subjects, strict=True))


def test_only_slices_of_about_the_same_level_are_matched(heads):
    slices = heads[0]
    _, index = best_match(slices, slices)
    assert float((slices.levels[index] - slices.levels).abs().max()) <= 0.1
    here, there = (slices.take([0, 1]), ImageSet(slices.images[:2], levels=torch.ones(2)))
    assert best_match(here, there)[0].isnan().all()


def test_few_candidates_find_almost_the_best(heads):
    train, held_out = heads
    queries = held_out.take(range(0, len(held_out), 8))
    both = (queries.images, queries.images.flip(-1))
    every = torch.stack([ssim(i[:, None], train.images) for i in both])
    near = (queries.levels[:, None] - train.levels).abs() <= 0.1
    best = every.masked_fill(~near, -1).amax((0, 2))
    assert float(best_match(queries, train)[0].mean()) > float(best.mean()) - 0.005


def test_ms_ssim_agrees_with_torchmetrics():
    truth = torch.rand(2, 192, 192, generator=torch.Generator().manual_seed(0))
    image = (truth + truth.roll(1, -1)) / 2
    expected = multiscale_structural_similarity_index_measure(
        image[:, None], truth[:, None], data_range=1.0, normalize="relu"
    )
    assert float(ms_ssim(image, truth).mean()) == pytest.approx(float(expected), abs=5e-3)


@pytest.mark.parametrize("size", [11, 30, 64, 128])
def test_ms_ssim_of_an_image_with_itself_is_one(size):
    image = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0))
    assert ms_ssim(image, image).numpy() == pytest.approx(1, abs=1e-5)


def test_pairs_are_of_different_people():
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.cat([image, image, image.flip(-1)])
    assert pair_similarity(ImageSet(images, ("a", "a", "b"))) < 0.9
    assert torch.tensor(pair_similarity(ImageSet(images, ("a", "a", "a")))).isnan()
    assert pair_similarity(ImageSet(images[:2])) == pytest.approx(1, abs=1e-5)
