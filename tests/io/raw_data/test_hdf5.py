"""HDF5 of strangers: nothing outside the file is read, and no size is believed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.raw_data import hdf5
from napari_mrgen.io.raw_data.hdf5 import child, opened_hdf5, read_dataset
from napari_mrgen.io.raw_data.kspace import is_kspace, read_image


def kspace(path: Path, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (2, 1, 8, 8), "c8", **options)
    return path


def test_external_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"TOP-SECRET" * 200)
    path = kspace(tmp_path / "a.h5", external=[(str(tmp_path / "secret.bin"), 0, 1024)])
    with pytest.raises(MrgenError, match="in another file, which is not followed"):
        read_image(path)


def test_external_links_are_refused(tmp_path: Path) -> None:
    kspace(tmp_path / "other.h5", data=np.ones((2, 1, 8, 8), "c8"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink("other.h5", "kspace")
    assert is_kspace(tmp_path / "a.h5"), "so that opening it says what is wrong"
    with pytest.raises(MrgenError, match="in another file"):
        read_image(tmp_path / "a.h5")


def test_virtual_datasets_are_refused(tmp_path: Path) -> None:
    kspace(tmp_path / "other.h5", data=np.ones((2, 1, 8, 8), "c8"))
    layout = h5py.VirtualLayout((2, 1, 8, 8), "c8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kspace", (2, 1, 8, 8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("kspace", layout)
    with pytest.raises(MrgenError, match="in another file"):
        read_image(tmp_path / "a.h5")


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1, 8, 8)}, {"compression": "gzip"}])
def test_a_size_that_is_not_stored_is_not_believed(options: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", (1 << 20, 8, 256, 256), "c8", **options)
    with pytest.raises(MrgenError, match=r"promises .* and 0 are stored"):
        read_image(tmp_path / "a.h5")


def test_values_that_are_there_are_read(tmp_path: Path) -> None:
    data = np.arange(128, dtype="c8").reshape(2, 1, 8, 8)
    path = kspace(tmp_path / "a.h5", data=data, compression="gzip")
    with opened_hdf5(path) as file:
        np.testing.assert_array_equal(read_dataset(child(file, "kspace")), data)
        assert child(file, "none/of/these") is None


def test_a_file_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What loops for ever stands for a file that makes the library do so.
    monkeypatch.setattr(hdf5, "_PROBE", "print(1, flush=True)\nwhile True: pass")
    monkeypatch.setattr(hdf5, "_MOST_SECONDS", 0.5)
    monkeypatch.setattr(hdf5, "_prober", hdf5._Prober())
    with (
        pytest.raises(MrgenError, match="is damaged"),
        opened_hdf5(kspace(tmp_path / "a.h5", data=np.ones((2, 1, 8, 8), "c8"))),
    ):
        pass


def test_without_a_process_to_look_a_file_is_opened_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "_PROBE", "raise SystemExit")
    monkeypatch.setattr(hdf5, "_prober", hdf5._Prober())
    path = kspace(tmp_path / "a.h5", data=np.ones((2, 1, 8, 8), "c8"))
    assert read_image(path).array.shape == (2, 8, 8)


@pytest.mark.parametrize("link", ["soft circle", "dangling"])
def test_links_that_lead_nowhere(link: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = h5py.SoftLink("/kspace" if link == "soft circle" else "/gone")
    assert not is_kspace(tmp_path / "a.h5")


@pytest.mark.parametrize("damage", range(40))
def test_any_damage_is_a_sentence(damage: int, tmp_path: Path) -> None:
    path = kspace(tmp_path / "a.h5", data=np.ones((2, 1, 8, 8), "c8"))
    raw = bytearray(path.read_bytes())
    places = np.random.default_rng(damage).integers(0, len(raw), 20)
    for place in places:
        raw[place] ^= 0xFF
    path.write_bytes(raw)
    with suppress(MrgenError):
        assert read_image(path).array.shape == (2, 8, 8)
