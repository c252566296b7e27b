from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mrgen.data.heads.patches import Shape, VolumePatches, pad_to_shape
from napari_mrgen.data.heads.preprocessing import PreprocessedData, PreprocessedSession
from napari_mrgen.data.heads.sessions import AlignmentCheck
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.errors import MrgenError

CONTRASTS = ("t1", "t2")
SHAPES = ((10, 15, 12), (9, 18, 11))
SIDES = st.tuples(*[st.integers(1, 20)] * 3)


@settings(max_examples=40, deadline=None)
@given(shape=SIDES, wanted=SIDES, lead=st.integers(0, 2))
def test_padding_puts_zeros_on_both_sides(shape: Shape, wanted: Shape, lead: int) -> None:
    volume = torch.rand((1,) * lead + shape)
    padded = pad_to_shape(volume, wanted)
    assert padded.shape[-3:] == tuple(map(max, shape, wanted))
    before = [(now - was) // 2 for now, was in zip(padded.shape[-3:], shape, strict=True)]
    inside = tuple(slice(a, a + length) for a, length in zip(before, shape, strict=True))
    assert torch.equal(padded[(..., *inside)], volume)
    assert padded.count_nonzero() == volume.count_nonzero()


def test_a_volume_that_is_large_enough_is_left_alone() -> None:
    volume = torch.rand(1, 8, 16, 24)
    assert torch.equal(pad_to_shape(volume, (4, 16, 8)), volume)


def pair(
    folder: Path, name: str, shape: tuple[int, int, int], *contrasts: str
) -> PreprocessedSession:
    """Write a preprocessed session: values above 0.3 in a corner, alike in each contrast."""
    folder = folder / "-".join((name, *contrasts))
    folder.mkdir()
    generator = np.random.default_rng(len(name) + shape[1])
    mask = np.zeros(shape, np.uint8)
    mask[1:6, 2:8, 1:7] = 1
    values = (generator.uniform(0.3, 1, shape) * mask).astype(np.float32)
    for contrast in contrasts:
        np.save(folder / f"{contrast}.npy", values)
    np.save(folder / "mask.npy", mask)
    affine = [[0, 0, -1.0, 3], [0, -2.0, 0, 2], [-3.0, 0, 0, 1], [0, 0, 0, 1]]
    check = AlignmentCheck(name, "same grid", 1.1, "")
    scalings = {contrast: Scaling(0.0, 100.0 * len(name)) for contrast in contrasts}
    return PreprocessedSession(
        name, name, folder, shape, tuple(map(tuple, affine)), scalings, check
    )


@pytest.fixture
def whole(tmp_path: Path) -> PreprocessedData:
    pairs = [pair(tmp_path, "s" * n, shape, "t1", "t2") for n, shape in enumerate(SHAPES, 1)]
    return PreprocessedData((pairs[0], pairs[1]), (pairs[1],))


@pytest.fixture
def unpaired(tmp_path: Path) -> PreprocessedData:
    """A pair, two T1w and one T2w without partners."""
    singles = (("b", "t1"), ("c", "t1"), ("d", "t2"))
    pairs = [pair(tmp_path, name, SHAPES[1], contrast) for name, contrast in singles]
    return PreprocessedData((pair(tmp_path, "a", SHAPES[0], "t1", "t2"), *pairs), ())


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("patch", "legal", "shape"),
    [(None, 1, (10, 18, 12)), (0, 8, (16, 24, 16)), (8, 4, (8, 8, 8)), (12, 4, (12, 12, 12))],
)
def test_all_samples_have_one_legal_shape(
    whole: PreprocessedData, patch: int | None, legal: int, shape: tuple[int, int, int]
) -> None:
    data = VolumePatches(whole, CONTRASTS, patch, legal)
    assert data.shape == shape
    assert data.describe()["shape"] == list(shape)
    for index in range(len(data)):
        sample = data.sample(index, draw(index))
        assert {sample[name].shape for name in ("t1", "t2", "mask")} == {(1, *shape)}
        assert sample["paired"] == 1
        assert all(tensor.dtype == torch.float32 for tensor in sample.values())


@pytest.mark.parametrize("legal", range(1, 17))
def test_a_shape_is_no_larger_than_it_must_be_to_be_legal(
    whole: PreprocessedData, legal: int
) -> None:
    shape = VolumePatches(whole, CONTRASTS, None, legal).shape
    assert all(side % legal == 0 for side in shape)
    assert all(0 <= a - b < legal for a, b in zip(shape, np.max(SHAPES, axis=0), strict=True))


@pytest.mark.parametrize("patch", [None, 6])
def test_what_is_cut_from_a_pair_is_cut_alike(whole: PreprocessedData, patch: int | None) -> None:
    data = VolumePatches(whole, CONTRASTS, patch, 2)
    for seed in range(20):
        sample = data.sample(seed % 2, draw(seed))
        assert torch.equal(sample["t1"], sample["t2"])
        assert torch.equal(sample["mask"], (sample["t1"] > 0).float())


def test_a_whole_volume_is_all_of_it(whole: PreprocessedData) -> None:
    sample = VolumePatches(whole, CONTRASTS, None, 8, flip=False).sample(0, draw(0))
    values = torch.from_numpy(np.array(whole.train[0].array("t1")))
    assert torch.equal(sample["t1"][0], pad_to_shape(values, (16, 24, 16)))


def test_samples_follow_from_their_generator(whole: PreprocessedData) -> None:
    data = VolumePatches(whole, CONTRASTS, 6, 2)
    one, same, other = (data.sample(0, draw(seed))["t1"] for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_patches_are_in_the_brain_as_a_rule(whole: PreprocessedData) -> None:
    data = VolumePatches(whole, CONTRASTS, 4, 1)
    shares = [float(data.sample(0, draw(seed))["mask"].mean()) for seed in range(60)]
    everywhere = float(whole.train[0].array("mask").mean())
    assert np.mean(shares) > 3 * everywhere
    assert min(shares) > 0


def test_half_of_the_patches_are_enlarged_at_most_so_many_times(tmp_path: Path) -> None:
    ramps = pair(tmp_path, "ramps", (24, 24, 24), "t1", "t2")
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32), (24, 24, 24))
    np.save(ramps.folder / "t1.npy", ramp)
    np.save(ramps.folder / "t2.npy", ramp.T)
    np.save(ramps.folder / "mask.npy", np.ones((24, 24, 24), np.uint8))
    data = VolumePatches(PreprocessedData((ramps,), ()), CONTRASTS, 12, 1, flip=False, zoom=2)
    samples = [data.sample(0, draw(seed)) for seed in range(60)]
    for name, axis in (("t1", -1), ("t2", -3)):
        slopes = np.array([float(s[name].diff(dim=axis).median()) for s in samples])
        assert slopes.min() >= 0.5
        assert slopes.max() <= 1
        assert 0.3 < np.mean(slopes < 1) < 0.7
    assert all(torch.equal(s["mask"], torch.ones(1, 12, 12, 12)) for s in samples)


def test_left_and_right_are_mirrored_half_of_the_time(whole: PreprocessedData) -> None:
    plain = VolumePatches(whole, CONTRASTS, None, 1, flip=False).sample(0, draw(0))["t1"]
    data = VolumePatches(whole, CONTRASTS, None, 1)
    turned = [torch.equal(data.sample(0, draw(seed))["t1"], plain.flip(3)) for seed in range(40)]
    same = [torch.equal(data.sample(0, draw(seed))["t1"], plain) for seed in range(40)]
    assert all(a != b for a, b in zip(turned, same, strict=True))
    assert 10 < sum(turned) < 30


def test_what_is_not_paired_is_drawn_apart(unpaired: PreprocessedData) -> None:
    data = VolumePatches(unpaired, CONTRASTS, 6, 2)
    assert len(data) == 3
    assert data.paired_share == pytest.approx(1 / 3)
    samples = [data.sample(index, draw(index)) for index in range(3)]
    assert [float(sample["paired"]) for sample in samples] == [1, 0, 0]
    for sample in samples:
        assert set(sample) == {"t1", "t2", "mask", "paired"}
    places = [data.sample(1, draw(seed)) for seed in range(10)]
    assert not all(torch.equal(place["t1"], place["t2"]) for place in places)


def test_held_out_heads_are_always_the_same(whole: PreprocessedData) -> None:
    for patch, size in ((None, 1), (6, 4)):
        data = VolumePatches(whole, CONTRASTS, patch, 2)
        (one,), (same,) = (list(data.held_out()) for _ in range(2))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert len(one["t1"]) == len(one["paired"]) == size


def test_what_goes_into_the_model_file(whole: PreprocessedData) -> None:
    described = VolumePatches(whole, CONTRASTS).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["scaling"]["t1"]["scale"] == 150, "the median of the training subjects"
    assert described["spacing_mm"] == [3, 2, 1]
    assert described["axes"] == "zyx"


def test_a_contrast_without_a_scan_is_refused(unpaired: PreprocessedData) -> None:
    with pytest.raises(MrgenError, match="no T2w scan"):
        VolumePatches(PreprocessedData(unpaired.train[1:3], ()), CONTRASTS)
