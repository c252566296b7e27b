import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_mrgen.families.cyclegan.baselines import HistogramMatch, LookupTable

SHAPE = (4, 6, 5)
EVERYWHERE = np.ones(SHAPE, bool)
images = arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))


def an_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE, np.float32)


@given(images, images)
def test_no_other_map_of_the_bins_is_nearer_to_the_training_targets(source, target):
    table = LookupTable.fit([(source, target, EVERYWHERE)])
    error = np.square(table(source, EVERYWHERE) - target).mean()
    for other in (source, np.full_like(source, target.mean())):
        binned = np.square(other - target).mean()
        assert error <= binned + 1 / 128


def test_a_map_of_intensities_is_found():
    sources = [an_image(seed) for seed in range(20)]
    table = LookupTable.fit([(image, 1 - image, EVERYWHERE) for image in sources])
    unseen = an_image(99)
    np.testing.assert_allclose(table(unseen, EVERYWHERE), 1 - unseen, atol=1 / 64)


def test_bins_never_seen_take_their_neighbours_value():
    source = np.where(an_image() < 0.5, 0.2, 0.6).astype(np.float32)
    table = LookupTable.fit([(source, 2 * source, EVERYWHERE)])
    between = table(np.full(SHAPE, 0.4, np.float32), EVERYWHERE)
    assert 0.4 < between.mean() < 1.2
    beyond = table(np.full(SHAPE, 3.0, np.float32), EVERYWHERE)
    np.testing.assert_allclose(beyond, 1.2, atol=1e-6)


def test_matching_gives_the_distribution_of_the_targets():
    target = an_image(1) ** 2
    match = HistogramMatch.fit([(target, EVERYWHERE)])
    found = match(an_image(2), EVERYWHERE)
    np.testing.assert_allclose(np.sort(found, None), np.sort(target, None), atol=5e-3)


def test_matching_to_itself_changes_nothing():
    image = an_image(3)
    match = HistogramMatch.fit([(image, EVERYWHERE)])
    np.testing.assert_allclose(match(image, EVERYWHERE), image, atol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        LookupTable.fit([(an_image(0), an_image(1), EVERYWHERE)]),
        HistogramMatch.fit([(an_image(1), EVERYWHERE)]),
    ],
)
def test_what_is_outside_the_mask_stays_and_is_not_looked_at(method):
    image, mask = an_image(4), an_image(5) > 0.5
    made = method(image, mask)
    np.testing.assert_array_equal(made[~mask], image[~mask])
    other = method(np.where(mask, image, 7).astype(np.float32), mask)
    np.testing.assert_array_equal(other[mask], made[mask])
    assert made.dtype == np.float32


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="at least one voxel"):
        LookupTable.fit([])
    with pytest.raises(ValueError, match="at least one training target"):
        HistogramMatch.fit([])
