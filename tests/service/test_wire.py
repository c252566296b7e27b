"""A volume that has travelled is the same volume, bit for bit."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.service import wire
from napari_mrgen.service.wire import TravelFacts, pack, safe_name, unpack
from napari_mrgen.volume import Participant, Volume

SHAPES = {"zyx": (2, 3, 4), "tzyx": (1, 2, 3, 4), "nzyx": (3, 1, 3, 4), "ntzyx": (2, 3, 1, 4, 2)}
TURNED = np.array(
    [[0.1, -0.2, -1.3, 7], [0.3, -1.1, 0.2, 9], [-2.7, 0.1, 0.4, 1 / 3], [0, 0, 0, 1]]
)


def drawn(axes: str = "zyx", dtype: str = "float32", **changes: Any) -> Volume:
    generator = np.random.default_rng(0)
    array = (generator.normal(size=SHAPES[axes]) * 90).astype(dtype)
    return Volume(array, axes, TURNED, **{"name": "a volume", "subject": "P 1", **changes})


def travelled(volume: Volume, folder: Path) -> Volume:
    facts = pack(volume, folder / "volume.nii.gz")
    return unpack(folder / "volume.nii.gz", TravelFacts.parse(facts.model_dump_json()))


def assert_same(one: Volume, other: Volume) -> None:
    assert one.array.dtype == other.array.dtype
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_array_equal(one.affine, other.affine)
    for name in ("axes", "kind", "name", "subject", "times", "provenance"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "int32", "bool"])
def test_any_volume_stays_as_it_is(axes: str, dtype: str, tmp_path: Path) -> None:
    for changes in ({}, {"kind": "labels"}, {"provenance": {"family": "dcgan", "seed": 1}}):
        if changes.get("kind") == "labels" and dtype.startswith("float"):
            continue
        volume = drawn(axes, dtype, **changes)
        assert_same(travelled(volume, tmp_path), volume)


def test_uneven_times_and_facts_stay(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "participant": Participant(age=np.float32(61.5)),
        "labelled_frames": (1, 2),
        "samples": {"index": [0, 1]},
    }
    volume = drawn("ntzyx", times=(0.0, 0.1, 1 / 3), **facts)
    found = travelled(volume, tmp_path)
    assert_same(found, volume)
    assert found.participant == Participant(age=61.5)
    assert (found.labelled_frames, found.samples) == ((1, 2), {"index": [0, 1]})


def test_not_a_number_stays(tmp_path: Path) -> None:
    volume = drawn(participant=Participant(mmse=float("nan")))
    volume.array[0, 0, :2] = np.nan, np.inf
    found = travelled(volume, tmp_path)
    assert_same(found, volume)
    assert np.isnan(found.participant.mmse)


def test_a_scan_from_a_file_stays(cine: Path, tmp_path: Path) -> None:
    scan = nifti.read(cine)
    assert_same(travelled(scan, tmp_path), scan)
    flipped = replace(scan, array=scan.array[..., ::-1].copy())
    assert_same(travelled(flipped, tmp_path), flipped)


@pytest.mark.parametrize(
    "change",
    [
        {"axes": "xyz"},
        {"shape": (2, 3)},
        {"dtype": "complex64"},
        {"dtype": "object"},
        {"dtype": "no type"},
        {"affine": ((0.0,) * 4,) * 4},
        {"affine": ((float("nan"),) * 4,) * 4},
        {"order": (0, 0, 1)},
        {"more": 1},
    ],
)
def test_facts_that_make_no_sense_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    facts = pack(drawn(), tmp_path / "volume.nii")
    with pytest.raises(MrgenError, match="cannot be used"):
        TravelFacts.parse(json.dumps({**facts.model_dump(mode="json"), **change}))


def test_facts_of_another_file_are_refused(tmp_path: Path) -> None:
    facts = pack(drawn("tzyx"), tmp_path / "volume.nii")
    pack(drawn("nzyx"), tmp_path / "volume.nii")
    with pytest.raises(MrgenError, match="send them together"):
        unpack(tmp_path / "volume.nii", facts)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("scan.nii.gz", "scan.nii.gz"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\scan.nii", "scan.nii"),
        ("C:\\data\\a?b.nii", "ab.nii"),
        ("..", "volume.nii"),
        ("", "volume.nii"),
        (".hidden.nii", "hidden.nii"),
        ("a\0b\n.nii", "ab.nii"),
    ],
)
def test_names_from_elsewhere_stay_in_their_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert len(safe_name("x" * 5000 + ".nii").encode()) <= 255


class Torn(io.BytesIO):
    """A stream whose pieces end at one place more, as those of a network do."""

    def __init__(self, data: bytes, place: int) -> None:
        super().__init__(data)
        self.place = place

    def read(self, size: int | None = -1) -> bytes:
        left = self.place - self.tell()
        return super().read(min(size or 0, left) if left > 0 else size)


@pytest.mark.parametrize("before", [0, 1, 400, 511, 512, 513, 1023, 1024])
def test_a_bundle_may_be_torn_within_its_end(before: int) -> None:
    data = wire.result_members(drawn(), 1, {}) + wire.END
    (found,) = wire.read_results(Torn(data, len(data) - before))
    assert_same(found[0], drawn())


def test_a_bundle_gives_its_volumes_one_by_one() -> None:
    volumes = [drawn(name="one"), drawn("tzyx", name="two / 2"), drawn(name="one")]
    parts = [wire.result_members(volume, n, {}) for n, volume in enumerate(volumes, 1)]
    found = [volume for volume, _ in wire.read_results(io.BytesIO(b"".join(parts) + wire.END))]
    for one, other in zip(found, volumes, strict=True):
        assert_same(one, other)


class Growing(io.BytesIO):
    """A stream that must not be read beyond what has come."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        assert found, "waits for what is not needed"
        return found


def test_a_result_is_there_before_the_next_one_comes() -> None:
    reading = wire.read_results(Growing(wire.result_members(drawn(), 1, {})))
    volume, _ = next(reading)
    assert_same(volume, drawn())


def test_a_bundle_that_is_cut_short_is_no_bundle() -> None:
    whole = wire.result_members(drawn(), 1, {}) + wire.END
    for length in (0, 100, 700, len(whole) - 1024, len(whole) - 512):
        with pytest.raises(MrgenError, match="answer"):
            list(wire.read_results(io.BytesIO(whole[:length])))


def test_a_bundle_says_what_went_wrong() -> None:
    parts = wire.result_members(drawn(), 1, {}) + wire.problem_member("No room is left.") + wire.END
    reading = wire.read_results(io.BytesIO(parts))
    next(reading)
    with pytest.raises(MrgenError, match=r"^No room is left\.$"):
        next(reading)
