"""What napari calls: one reader for all, writers that name their files, samples."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

import napari_mrgen
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import plugin
from napari_mrgen.io.layers import to_layer
from napari_mrgen.io.nifti import read, write
from napari_mrgen.samples import beating_heart

CINE, LABELS = beating_heart(frames=4, slices=2, size=32)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write(CINE, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_reads_a_path_or_a_list(scan: Path) -> None:
    for paths in (str(scan), [str(scan)], [str(scan), str(scan)]):
        reader = plugin.get_reader(paths)
        assert reader is not None
        layers = reader(paths)
        assert len(layers) == (1 if isinstance(paths, str) else len(paths))
        np.testing.assert_array_equal(layers[0][0], CINE.array)


def test_a_folder_gives_images_and_their_labels(scan: Path) -> None:
    write(LABELS, scan.with_name("scan_seg.nii.gz"))
    reader = plugin.get_reader(str(scan.parent))
    assert reader is not None
    assert [kind for _, _, kind in reader(str(scan.parent))] == ["image", "labels"]


def test_a_folder_of_labels_only(tmp_path: Path) -> None:
    write(LABELS, tmp_path / "scan_seg.nii.gz")
    assert [kind for _, _, kind in plugin.read_layers(str(tmp_path))] == ["labels"]


def test_what_is_not_ours_is_left_to_others_at_once(tmp_path: Path) -> None:
    (tmp_path / "photo.hdr").write_bytes(b"#?RADIANCE\n" + bytes(999))
    (tmp_path / "disk.img").write_bytes(bytes(999))
    (tmp_path / "a.png").touch()
    for path in (tmp_path, tmp_path / "photo.hdr", tmp_path / "disk.img", tmp_path / "a.png"):
        start = time.monotonic()
        assert plugin.get_reader(str(path)) is None
        assert time.monotonic() - start < 1
    assert plugin.get_reader([]) is None


def test_a_broken_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.nii").write_bytes(b"nothing")
    reader = plugin.get_reader(str(tmp_path / "bad.nii"))
    assert reader is not None
    with pytest.raises(MrgenError, match="not a NIfTI"):
        reader(str(tmp_path / "bad.nii"))


def test_a_folder_that_does_not_fit_into_memory(
    scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 10_000

    monkeypatch.setattr("psutil.virtual_memory", Little)
    with pytest.raises(MrgenError, match="train from the folder"):
        plugin.read_layers(str(scan.parent))


class TestWriteNifti:
    def test_one_layer_gets_the_name(self, scan: Path) -> None:
        layers = plugin.read_layers(str(scan))
        out = scan.with_name("out.nii")
        assert plugin.write_nifti(str(out), layers) == [str(out)]
        assert out.read_bytes() == nib.load(scan).to_bytes()

    def test_without_a_suffix_it_is_compressed(self, tmp_path: Path) -> None:
        written = plugin.write_nifti(str(tmp_path / "out.v2"), [to_layer(CINE)])
        assert written == [str(tmp_path / "out.v2.nii.gz")]

    def test_several_are_named_after_their_layers(self, tmp_path: Path) -> None:
        volumes = [CINE, replace(CINE, name="a / b"), replace(CINE, name="a / b"), LABELS]
        layers = [to_layer(volume) for volume in [*volumes, replace(LABELS, name="mine")]]
        written = plugin.write_nifti(str(tmp_path / "out.nii.gz"), layers)
        assert [Path(path).name for path in written] == [
            "out_heart_0.nii.gz",
            "out_a_b.nii.gz",
            "out_a_b_2.nii.gz",
            "out_heart_0_labels.nii.gz",
            "out_mine_labels.nii.gz",
        ]
        assert [read(Path(path)).kind for path in written] == ["image"] * 3 + ["labels"] * 2

    def test_generated_is_marked(self, tmp_path: Path) -> None:
        made = replace(CINE, provenance={"family": "frame_prediction", "seed": 7})
        plugin.write_nifti(str(tmp_path / "made.nii.gz"), [to_layer(made)])
        header = nib.load(tmp_path / "made.nii.gz").header
        assert header["descrip"].item() == b"napari-mrgen frame_prediction synthetic"
        assert header.get_data_dtype() == np.float32
        record = (tmp_path / "made.json").read_text("utf-8")
        assert '"synthetic": true' in record
        assert "not for diagnosis" in record
        assert '"seed": 7' in record


class TestWriteMovie:
    def test_labels_are_drawn(self, tmp_path: Path) -> None:
        path = str(tmp_path / "a.gif")
        assert plugin.write_movie(path, [to_layer(LABELS), to_layer(CINE)]) == [path]

    def test_says_so_where_times_are_not_known(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="20 frames a second"):
            plugin.write_movie(str(tmp_path / "a.gif"), [to_layer(replace(CINE, times=None))])


def test_samples() -> None:
    assert [kind for _, _, kind in plugin.sample_heart()] == ["image", "labels"]
    assert [kind for _, _, kind in plugin.sample_brain()] == ["image", "image"]


def test_napari_offers_the_reader_for_slices_of_a_case_only() -> None:
    manager = PluginManager()
    manager.register(PluginManifest.from_file(Path(napari_mrgen.__file__).with_name("napari.yaml")))
    for name, offered in (("case_001_slice_0.nii.png", 1), ("photo.png", 0)):
        assert len(list(manager.iter_compatible_readers([name]))) == offered
