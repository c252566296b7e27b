from pathlib import Path

import pytest
import torch
from torch.nn import functional

from napari_mrgen.data.inputs import split_subjects
from napari_mrgen.io import nifti
from napari_mrgen.metrics.distributions import ImageSet
from napari_mrgen.metrics.memorisation import NearCopyFinder, find_near_copies
from tests.metrics.conftest import cut


def resized(images, scale):
    theta = torch.tensor([[1 / scale, 0, 0], [0, 1 / scale, 0]]).expand(len(images), 2, 3)
    grid = functional.affine_grid(theta, [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


PLANTED = {
    "as they are": lambda x: x,
    "mirrored": lambda x: x.flip(-1),
    "enlarged": lambda x: resized(x, 1.04),
    "shrunk": lambda x: resized(x, 0.96),
    "shifted": lambda x: x.roll((2, -2), (1, 2)),
    "darker": lambda x: 0.7 * x + 0.05,
    "all of it": lambda x: 1.2 * resized(x.flip(-1), 0.96).roll((-2, 2), (1, 2)),
}


@pytest.fixture(scope="module")
def people(mrgen_data: Path) -> tuple[ImageSet, ImageSet]:
    """Real slices of 128 x 128 pixels: of 31 people to train on, and of 11 others."""
    paths = sorted((mrgen_data / "ixi-t1-2mm").glob("*.nii.gz"))
    if not paths:
        pytest.skip("no ixi-t1-2mm among the real MRI")
    split = split_subjects([path.name for path in paths], 0.25, seed=0)
    volumes = {path.name: nifti.read(path) for path in paths}
    sets = [cut(((name, volumes[name]) for name in names), 128, 4)
            for names in (split.train, split.test)]  # fmt: skip
    return sets[0], sets[1]


@pytest.fixture(scope="module")
def finder(people: tuple[ImageSet, ImageSet]) -> NearCopyFinder:
    return NearCopyFinder(*people)


@pytest.mark.parametrize("how", PLANTED)
def test_planted_copies_of_real_slices_are_found(finder, people, how):
    planted = torch.arange(0, len(people[0]), 2)
    copies = finder.find(ImageSet(PLANTED[how](people[0].images[planted])))
    assert copies.share >= 0.95
    assert float((copies.nearest == planted).float().mean()) >= 0.95


def test_about_one_in_a_hundred_held_out_slices_is_flagged(finder, people):
    assert finder.find(people[1]).share <= 0.02


def test_people_do_not_copy_one_another(finder, people):
    assert finder.find(people[0]).share <= 0.05


def test_noise_does_not_hide_a_copy(finder, people):
    images = people[0].images[::4]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert finder.find(ImageSet(images + 0.05 * noise)).share >= 0.95


@pytest.mark.parametrize("how", ["as they are", "mirrored", "darker"])
def test_planted_copies_of_phantoms_are_found(heads, how):
    train, held_out = heads
    copies = find_near_copies(ImageSet(PLANTED[how](train.images)), train, held_out)
    assert copies.share >= 0.95
    assert find_near_copies(held_out, train, held_out).share <= 0.03  # One of 48.
