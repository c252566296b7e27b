"""What a model made says so: in the file, beside it, and in the picture; a user's JSON stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.layers._layer_actions import _convert
from PIL import Image

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import plugin
from napari_mrgen.io.facts import NOTICE, sidecar_of
from napari_mrgen.io.layers import to_layer
from napari_mrgen.io.movies import write_movie
from napari_mrgen.io.nifti import read, write
from napari_mrgen.io.synthetic import is_synthetic
from napari_mrgen.samples import beating_heart

CINE, LABELS = beating_heart(frames=3, slices=1, size=32)
RECORD = {
    "synthetic": True, "family": "frame_prediction", "seed": 7, "notice": NOTICE,
    "model": {"sha256": "0123456789abcdef"}, "configuration": {"mark_synthetic": True},
}  # fmt: skip
MADE = replace(CINE, name="made", provenance=RECORD)
UNMARKED = replace(MADE, provenance={**RECORD, "configuration": {"mark_synthetic": False}})
MINE = '{"RepetitionTime": 2.0}'


def words_of(path: Path) -> str:
    """Return what a file's own metadata say, as other programs show it."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as movie:
            return " ".join(movie.metadata.values())
    with Image.open(path) as picture:
        return " ".join(str(value) for value in picture.info.values())


def corner(path: Path) -> np.ndarray:
    """Return the lower left of the first frame, in grey."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as movie:
            frame = next(movie.decode(video=0)).to_ndarray(format="rgb24")
    else:
        with Image.open(path) as picture:
            frame = np.asarray(picture.convert("RGB"))
    return frame[-20:, :70].astype(int)


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.png"])
def test_a_movie_of_what_a_model_made_says_so(name: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    plain = tmp_path / "plain"
    measured = tmp_path / "measured"
    for folder, volume in ((made, MADE), (plain, UNMARKED), (measured, CINE)):
        folder.mkdir()
        write_movie(volume, folder / name)
    first = "a_000.png" if name == "a.png" else name
    for folder in (made, plain):
        assert "synthetic" in words_of(folder / first)
        assert "seed 7" in words_of(folder / first)
        record = json.loads((folder / f"{name}.json").read_text())
        assert (record["synthetic"], record["seed"]) == (True, 7)
        assert is_synthetic(folder / first)
    assert "synthetic" not in words_of(measured / first)
    assert not list(measured.glob("*.json"))
    assert np.abs(corner(plain / first) - corner(measured / first)).max() <= 2
    assert np.abs(corner(made / first) - corner(measured / first)).max() > 100


def test_the_word_is_legible_over_labels_and_in_every_frame(tmp_path: Path) -> None:
    write_movie(MADE, tmp_path / "a.png", LABELS)
    for number in range(3):
        word = corner(tmp_path / f"a_{number:03d}.png")
        assert np.ptp(word, axis=-1).max() == 0
        assert word.max() > 200
        assert (word < 30).mean() > 0.5


def test_each_file_has_its_own_sidecar(tmp_path: Path) -> None:
    names = ("w.nii.gz", "w.gif", "w.mp4", "w.png")
    assert [sidecar_of(Path(name)).name for name in names] == [
        "w.json", "w.gif.json", "w.mp4.json", "w.png.json",
    ]  # fmt: skip
    write(MADE, tmp_path / "w.nii.gz")
    with pytest.warns(UserWarning, match=r"w\.json is of another image or program"):
        write(replace(MADE, provenance={**RECORD, "seed": 8}), tmp_path / "w.nii")
    seeds = [json.loads((tmp_path / f).read_text())["seed"] for f in ("w.json", "w.nii.json")]
    assert seeds == [7, 8]


@pytest.mark.parametrize("content", [MINE, "[1, 2]", "{broken", '{"synthetic": true}', ""])
def test_json_of_the_user_stays_and_provenance_goes_beside(content: str, tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text(content)
    with pytest.warns(UserWarning, match=r"how scan\.nii\.gz was made is in scan\.nii\.gz\.json"):
        plugin.write_nifti(str(tmp_path / "scan.nii.gz"), [to_layer(MADE)])
    assert (tmp_path / "scan.json").read_text() == content
    assert json.loads((tmp_path / "scan.nii.gz.json").read_text())["seed"] == 7
    (tmp_path / "scan.nii.gz.json").write_text(content)
    with pytest.raises(MrgenError, match="exists already"):
        write(MADE, tmp_path / "scan.nii.gz")
    write(MADE, tmp_path / "scan.nii.gz", overwrite=True)
    assert json.loads((tmp_path / "scan.json").read_text())["seed"] == 7


def test_a_record_of_this_program_is_written_anew(tmp_path: Path) -> None:
    for seed in (1, 2):
        for name in ("a.nii.gz", "a.gif"):
            made = replace(MADE, provenance={**RECORD, "seed": seed})
            (write if name.endswith("gz") else write_movie)(made, tmp_path / name)
    assert json.loads((tmp_path / "a.json").read_text())["seed"] == 2
    assert json.loads((tmp_path / "a.gif.json").read_text())["seed"] == 2


def test_a_measured_image_does_not_keep_the_record_of_a_generated_one(tmp_path: Path) -> None:
    write(MADE, tmp_path / "a.nii.gz")
    write(CINE, tmp_path / "a.nii.gz")
    assert not is_synthetic(tmp_path / "a.nii.gz")
    (tmp_path / "a.json").write_text(MINE)
    write(CINE, tmp_path / "a.nii.gz")
    assert (tmp_path / "a.json").read_text() == MINE


def test_provenance_survives_what_is_done_with_a_layer(tmp_path: Path) -> None:
    write(MADE, tmp_path / "made.nii.gz")
    viewer = ViewerModel()
    layer = Layer.create(*plugin.read_layers(str(tmp_path / "made.nii.gz"))[0])
    viewer.add_layer(layer)
    layer.projection_mode = "none"  # Labels have no other.
    layer.data = layer.data[:, :, 4:]
    layer.translate = layer.translate + layer.scale * (0, 0, 4, 0)
    plugin.write_nifti(str(tmp_path / "crop.nii.gz"), [layer.as_layer_data_tuple()])
    viewer.layers.selection = {layer}
    _convert(viewer.layers, "labels")
    converted = viewer.layers[-1].as_layer_data_tuple()
    plugin.write_nifti(str(tmp_path / "c_labels.nii.gz"), [converted])
    for name in ("crop.nii.gz", "c_labels.nii.gz"):
        assert is_synthetic(tmp_path / name)
        provenance = read(tmp_path / name).provenance
        assert provenance is not None
        assert provenance["seed"] == 7
