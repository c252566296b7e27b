from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mrgen.data.slices import SliceData, SliceSet, SliceSpec, condition_vectors, slices_of
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference, find
from napari_mrgen.samples import brain
from napari_mrgen.volume import Participant, Volume

PLANES = ("axial", "coronal", "sagittal")


@pytest.fixture(scope="module")
def head() -> Volume:
    return brain(0)[0]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reference, ...]:
    folder = tmp_path_factory.mktemp("brains")
    for seed in range(3):
        nifti.write(brain(seed)[0], folder / f"subject-{seed}.nii.gz")
    return find(folder, ("zyx",))


@pytest.mark.parametrize("plane", PLANES)
def test_slices_go_back_to_where_they_came_from(head: Volume, plane: str) -> None:
    spec = SliceSpec(size=max(head.array.shape), plane=plane)  # type: ignore[arg-type]
    images, placement = slices_of(head, spec)
    back = placement.back(images)
    top = placement.scaling.scale
    assert np.array_equal(back.affine, head.affine)
    assert np.allclose(back.array, head.array.clip(0, top), atol=1e-4 * top)


@pytest.mark.parametrize("plane", PLANES)
def test_shrunk_slices_go_back_at_full_size(head: Volume, plane: str) -> None:
    images, placement = slices_of(head, SliceSpec(size=32, plane=plane))  # type: ignore[arg-type]
    back = placement.back(images)
    assert images.shape[1:] == (32, 32)
    assert back.array.shape == head.array.shape
    blurred = np.corrcoef(back.array.ravel(), head.array.ravel())[0, 1]
    assert blurred > 0.8


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("size", [32, 200])
def test_the_field_of_view_keeps_its_size_in_mm(head: Volume, plane: str, size: int) -> None:
    _, placement = slices_of(head, SliceSpec(size=size, plane=plane))  # type: ignore[arg-type]
    axis = PLANES.index(plane)
    field = np.delete(np.array(head.spacing) * head.array.shape, axis)
    seen = np.array(placement.spacing[1:]) * placement.shown
    assert np.allclose(seen, field)


def test_labels_keep_their_values(head: Volume) -> None:
    labels = head.with_array((head.array > 0).astype(np.int16) * 7, kind="labels")
    images, placement = slices_of(labels, SliceSpec(size=48))
    assert set(images.unique().tolist()) == {0.0, 7.0}
    assert set(np.unique(placement.back(images).array)) == {0, 7}


def test_neck_and_air_are_left_out() -> None:
    """A head of 100 slices of 2 mm in 20 slices of air: the range counts from its top."""
    array = np.zeros((120, 40, 40), np.float32)
    array[20:] = 1
    volume = Volume(array, "zyx", np.diag([2.0, 2.0, 2.0, 1.0]))
    _, placement = slices_of(volume, SliceSpec(size=40, first=0.2, last=0.6))
    assert placement.chosen == range(20 + 14, 20 + 42)
    assert torch.equal(placement.levels[:34], torch.zeros(34))
    assert (placement.levels.diff() >= 0).all()


def test_few_slices_are_all_taken() -> None:
    volume = Volume(np.ones((32, 20, 20), np.float32), "zyx", np.eye(4))
    _, placement = slices_of(volume, SliceSpec(size=20))
    assert placement.chosen == range(32)


def test_what_is_not_known_is_told_as_zero() -> None:
    levels = torch.tensor([0.25, 0.75])
    assert condition_vectors(levels, Participant()).tolist() == [[0.25, 0, 0, 0], [0.75, 0, 0, 0]]
    known = condition_vectors(levels, Participant(age=50.0, sex="F"))
    assert known.tolist() == [[0.25, 0.5, -1, 1], [0.75, 0.5, -1, 1]]


def test_no_slice_is_in_a_set_twice(references: tuple[Reference, ...]) -> None:
    slices = SliceSet(references, SliceSpec(size=48))
    images = slices.images().flatten(1)
    nearest = torch.cdist(images, images).fill_diagonal_(torch.inf).amin(1)
    assert len(slices) == len(slices.subjects) == len(slices.conditions) == len(images)
    assert (nearest > 0).all()


def test_a_set_larger_than_memory_is_read_again(references: tuple[Reference, ...]) -> None:
    spec = SliceSpec(size=48)
    small = SliceSet(references, spec, keep_bytes=1)
    assert torch.equal(small.images(), SliceSet(references, spec).images())
    assert len(small._kept) == 1


def test_samples_follow_from_their_generator(references: tuple[Reference, ...]) -> None:
    data = SliceData(references[:2], references[2:], SliceSpec(size=48))
    one, same = (data.sample(3, torch.Generator().manual_seed(5)) for _ in range(2))
    other = data.sample(3, torch.Generator().manual_seed(6))
    assert torch.equal(one["image"], same["image"])
    assert not torch.equal(one["image"], other["image"])
    assert one["image"].shape == (1, 48, 48)
    assert 0 <= one["image"].min() <= one["image"].max() <= 1


def test_held_out_slices_are_of_held_out_subjects(references: tuple[Reference, ...]) -> None:
    data = SliceData(references[:2], references[2:], SliceSpec(size=48))
    batches = list(data.held_out())
    assert len(batches) == 1
    levels = batches[0]["conditions"][:, 0]
    assert (levels.diff() > 0).all()
    expected = SliceSet(references[2:], data.spec).take(0, 0.125)[0]
    assert torch.equal(batches[0]["image"][0, 0], expected)


def test_real_brains_fill_the_square(mrgen_data: Path) -> None:
    found = find(mrgen_data / "ixi-t1-2mm", ("zyx",))[:2]
    slices = SliceSet(found, SliceSpec())
    assert len(slices) == 48
    assert slices.spacing == (2.0, 2.0, 2.0)
    share = (slices.images() > 0.1).float().mean((1, 2))
    assert 0.2 < share.min() < share.max() < 0.6
