"""Training samples: they follow from the generator alone and have the shape of the spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mrgen.data.realtime import Gridded, Protocol
from napari_mrgen.data.undersampled import (
    PairedSeries,
    ScanSpec,
    SimulatedScans,
    network_inputs,
    pair_series,
)
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import find, find_series

h5py = pytest.importorskip("h5py")

SPEC = ScanSpec(
    frames=9, patch=24, protocol=Protocol(5), spokes_variation=2, coils=2, noise=0.01,
    view_sharing=True, with_operator=True, retimed_share=0.5, augmentation=True,
)  # fmt: skip


def test_a_sample_follows_from_its_generator(hearts: Path) -> None:
    data = SimulatedScans(find(hearts)[:1], (), SPEC)
    one, two, other = (data.sample(0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert {name: tuple(value.shape) for name, value in one.items()} == {
        "inputs": (4, 9, 24, 24), "truth": (1, 9, 24, 24), "scale": (),
        "maps": (2, 24, 24), "kernel": (9, 48, 48),
    }  # fmt: skip
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=0)
    assert not torch.equal(one["inputs"], other["inputs"])


def test_held_out_series_stay_the_same(hearts: Path) -> None:
    data, again = (SimulatedScans((), find(hearts)[:1], SPEC) for _ in range(2))
    (one,), (two,) = list(data.held_out()), list(again.held_out())
    torch.testing.assert_close(one["inputs"], two["inputs"], rtol=0, atol=0)


def test_a_held_out_series_lies_where_its_slice_is(hearts: Path) -> None:
    (reference, *_) = find(hearts)
    whole = reference.read()
    middle = whole.size("z") // 2
    source = SimulatedScans((), (reference,), SPEC).held_out_volume(0)
    assert source.array.shape == (*whole.array.shape[:1], 1, *whole.array.shape[2:])
    expected = whole.affine @ (middle, 0, 0, 1)
    np.testing.assert_allclose(source.affine @ (0, 0, 0, 1), expected)


def test_zero_filled_alone_is_magnitude() -> None:
    g = torch.Generator().manual_seed(0)
    series = torch.randn(9, 16, 16, dtype=torch.complex64, generator=g) + 1
    gridded = Gridded(series, torch.ones(1, 16, 16, dtype=torch.complex64))
    inputs = network_inputs(gridded, None, view_sharing=False)
    torch.testing.assert_close(inputs.channels[0] * inputs.scale, series.abs())
    assert not inputs.operator
    shared = network_inputs(gridded, None, view_sharing=True)
    torch.testing.assert_close(shared.channels[0] * shared.scale, series.real)
    torch.testing.assert_close(shared.magnitude, inputs.channels)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    truth = rng.random((3, 20, 20, 9), np.float32)
    for name, key, values in (("x", "imagesRecon", truth + 0.1), ("y", "imagesTrue", truth)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file[key] = values
    return tmp_path


def test_pairs_are_read_one_at_a_time(pairs: Path) -> None:
    pairs_read = pair_series(find_series(pairs / "x.h5"), find_series(pairs / "y.h5"))
    assert [one.subject for one, _ in pairs_read] == [f"series {i:06d}" for i in range(3)]
    spec = ScanSpec(9, 16, Protocol(5), 0, 1, 0.0, view_sharing=True, with_operator=False)
    sample = PairedSeries(pairs_read, pairs_read, spec).sample(1, torch.Generator().manual_seed(0))
    assert sample["inputs"].shape == (4, 9, 16, 16)
    assert float((sample["inputs"][0] - sample["truth"][0]).min()) > 0
    with h5py.File(pairs / "y.h5") as file:
        np.testing.assert_array_equal(
            pairs_read[1][1].read().array[3, 0], file["imagesTrue"][1, :, :, 3].T
        )


def test_a_truth_that_is_missing_is_said(pairs: Path) -> None:
    series = find_series(pairs / "x.h5")
    with pytest.raises(MrgenError, match="is in one of both only"):
        pair_series(series, find_series(pairs / "y.h5")[:2])


def test_a_file_that_names_its_set_tells_its_subjects_apart(pairs: Path) -> None:
    names = {"train": "x_train.h5", "val": "x_validation.h5"}
    for kind, name in names.items():
        (pairs / name).hardlink_to(pairs / "x.h5")
        subjects = {reference.subject for reference in find_series(pairs / name)}
        assert subjects == {f"{kind} {i:06d}" for i in range(3)}
