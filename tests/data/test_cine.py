import math

import numpy as np
import pytest
import torch

from napari_mrgen.data.cine import (
    Cine,
    CineWindows,
    SpatialAugmentation,
    TemporalAugmentation,
    WindowSpec,
    find_cycle,
    fit_patch,
    frames_at,
    load,
    random_retiming,
    random_spatial_augmentation,
    random_timing,
)
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

SPEC = WindowSpec(context=3, future=4, slices=2, patch=24)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def beating(frames: int = 16, slices: int = 3, height: int = 30, width: int = 26) -> torch.Tensor:
    """A disc whose radius follows one cosine a cycle."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.hypot(y - height / 2, x - width / 2)
    radius = 7 + 3 * torch.cos(2 * math.pi * torch.arange(frames) / frames)
    disc = torch.sigmoid(radius.view(-1, 1, 1, 1) - distance)
    return disc.expand(-1, slices, -1, -1).contiguous()


def volume(frames: torch.Tensor) -> Volume:
    return Volume((200 * frames).numpy().astype(np.uint8), "tzyx", np.eye(4), name="heart")


@pytest.fixture
def references(tmp_path):
    found = []
    for number in range(3):
        path = tmp_path / f"p{number}.nii"
        nifti.write(volume(beating(14 + number)), path)
        found.append(Reference(path, f"p{number}"))
    return tuple(found)


@pytest.fixture
def windows(references):
    return CineWindows(references[:2], references[2:], SPEC)


class TestCycle:
    def test_a_whole_beat_is_a_cycle(self):
        assert find_cycle(beating(16)) == 16

    def test_two_beats_are_one_cycle_twice(self):
        assert find_cycle(torch.cat([beating(12)] * 2)) == 12

    def test_half_a_beat_is_none(self):
        assert find_cycle(beating(32)[:17]) == 0

    def test_few_frames_are_none(self):
        assert find_cycle(beating(5)) == 0


def test_loading_scales_by_the_percentile():
    cine = load(volume(beating()))
    assert cine.cycle == 16
    assert float(cine.frames.max()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("size", [(24, 24), (40, 40), (24, 40), (30, 26)])
def test_a_patch_has_its_size_and_keeps_the_middle(size):
    frames = beating()
    patch = fit_patch(frames, size)
    assert patch.shape[-2:] == size
    assert torch.equal(patch[..., size[0] // 2, size[1] // 2], frames[..., 15, 13])


class TestVariation:
    def test_no_variation_is_the_identity(self):
        frames = beating()
        assert SpatialAugmentation(False, False, False, None, 1.0, 1.0).apply(frames) is not None
        assert torch.equal(
            SpatialAugmentation(False, False, False, None, 1.0, 1.0).apply(frames), frames
        )

    def test_a_turn_by_nothing_is_the_identity(self):
        frames = beating()
        turned = SpatialAugmentation(False, False, False, (0.0, 1.0, 0.0, 0.0), 1.0, 1.0).apply(
            frames
        )
        assert torch.allclose(turned, frames, atol=1e-5)

    def test_all_frames_look_the_same_way(self):
        still = beating()[:1].expand(6, -1, -1, -1)
        varied = random_spatial_augmentation(seeded(3)).apply(still)
        assert torch.allclose(varied, varied[:1].expand_as(varied), atol=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_new_motion_runs_forward_and_once_a_cycle(self, seed):
        retiming = random_retiming(seeded(seed), 12, 34, 0.9)
        positions = torch.linspace(0, retiming.cycle, 200)
        mapped = retiming.apply(positions, 20)
        assert (mapped.diff() > 0).all()
        assert float(mapped[-1] - mapped[0]) == pytest.approx(20)

    def test_no_change_of_motion_is_a_change_of_rate(self):
        mapped = TemporalAugmentation(10, (0.0,), (0.0,)).apply(torch.arange(10), 20)
        assert mapped.tolist() == [2.0 * i for i in range(10)]


def test_frames_between_frames_are_interpolated_round_the_cycle():
    frames = torch.arange(4.0).view(4, 1, 1, 1)
    cine = Cine(frames, 4, Scaling(0, 1))
    found = frames_at(cine, torch.tensor([0.0, 1.5, 3.5]), slice(None))
    assert found.flatten().tolist() == [0.0, 1.5, 1.5]


@pytest.mark.parametrize("seed", range(20))
def test_a_window_of_an_open_series_stays_inside_it(seed):
    cine = Cine(beating(32)[:12], 0, Scaling(0, 1))
    timing = random_timing(cine, SPEC, seeded(seed))
    assert float(timing.positions.min()) >= 0
    assert float(timing.positions.max()) <= 11
    assert timing.cycle == 0


@pytest.mark.parametrize("seed", range(20))
def test_wanted_frames_are_not_among_those_shown(seed):
    cine = Cine(beating(16), 16, Scaling(0, 1))
    timing = random_timing(cine, SPEC, seeded(seed))
    shown, wanted = timing.positions[:3], timing.positions[3:]
    assert (torch.cdist(shown[:, None], wanted[:, None]) > 0).all()


class TestWindows:
    def test_samples_follow_from_the_generator(self, windows):
        a, b = (windows.sample(1, seeded(5)) for _ in range(2))
        assert all(torch.equal(a[key], b[key]) for key in a)

    def test_samples_have_one_shape(self, windows):
        shapes = {windows.sample(i, seeded(i))["frames"].shape for i in range(len(windows))}
        assert shapes == {(7, 2, 24, 24)}

    def test_a_thin_series_is_filled_up(self, references):
        thick = CineWindows(references, references, WindowSpec(3, 4, slices=8, patch=24))
        assert thick.sample(0, seeded())["frames"].shape[1] == 8

    def test_held_out_windows_are_always_the_same(self, windows):
        first, second = (list(windows.held_out()) for _ in range(2))
        assert torch.equal(first[0]["frames"], second[0]["frames"])
        assert first[0]["frames"].shape == (1, 7, 2, 24, 24)
        assert float(first[0]["cycle"]) == 16

    @pytest.mark.parametrize("count", [4, 7, 9, 12])
    def test_held_out_windows_of_an_open_series_hold_different_frames(self, tmp_path, count):
        nifti.write(volume(beating(32)[:count]), tmp_path / "a.nii")
        windows = CineWindows((), [Reference(tmp_path / "a.nii", "a")] * 4, SPEC)
        for index in range(4):
            frames = windows.held_out_window(index)["frames"]
            assert (frames.diff(dim=0).abs().amax((1, 2, 3)) > 0).all()

    def test_the_description_is_of_the_first_scan_and_needs_its_header_only(self, windows):
        first = windows.train.references[0]
        expected = [*first.read().spacing], first.read().frame_interval
        described = windows.describe()
        first.path.unlink()
        assert (described["spacing_mm"], described["frame_interval_s"]) == expected
        assert windows.describe() == described

    def test_memory_is_bounded(self, references):
        windows = CineWindows(references, references, SPEC)
        windows.train._cache_bytes = 1
        for index in range(3):
            windows.sample(index, seeded())
        assert len(windows.train._cached) == 1
