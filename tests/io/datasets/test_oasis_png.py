"""PNG slices: the derivative of OASIS, whose slices are a case, and folders of anything."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.datasets import oasis_png
from napari_mrgen.io.find import find
from napari_mrgen.io.layers import from_layer, to_layer
from napari_mrgen.io.plugin import get_reader, read_layers
from napari_mrgen.samples import brain

SLICES = 12
GREYS = np.array([0, 85, 170, 255], np.uint8)
HEAD = brain(0)[0].array[:: 84 // SLICES][:SLICES, ::2, ::2]
HEAD = (HEAD / HEAD.max() * 255).astype(np.uint8)
TISSUES = (HEAD // 64).astype(np.uint8)


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def make_set(root: Path, name: str, cases: range) -> Path:
    """Write a set of cases and its labels, as the derivative of OASIS is laid out."""
    for number in cases:
        for k in range(SLICES):
            folder = root / f"keras_png_slices_{name}"
            save(np.roll(HEAD[k], number), folder / f"case_{number:03d}_slice_{k}.nii.png")
            folder = root / f"keras_png_slices_seg_{name}"
            save(GREYS[TISSUES[k]], folder / f"seg_{number:03d}_slice_{k}.nii.png")
    return root / f"keras_png_slices_{name}"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """The folder of a set of three cases; their labels are beside it."""
    return make_set(tmp_path, "train", range(1, 4))


def test_a_case_is_one_volume_its_slices_in_order_of_their_numbers(cases: Path) -> None:
    references = find(cases, ("zyx",))
    assert [reference.subject for reference in references] == ["case_001", "case_002", "case_003"]
    for shift, reference in enumerate(references, 1):
        volume = reference.read()
        np.testing.assert_array_equal(volume.array, [np.roll(s, shift) for s in HEAD])
        assert (volume.kind, volume.name) == ("image", reference.subject)
        assert reference.info().shape == volume.array.shape


@pytest.mark.parametrize("inside", [True, False])
def test_labels_are_the_four_tissues(cases: Path, inside: bool) -> None:
    reference = find(cases if inside else cases.parent)[1]
    labels = reference.read_labels()
    assert labels is not None
    assert (labels.kind, labels.name, labels.subject) == ("labels", "case_002_labels", "case_002")
    np.testing.assert_array_equal(labels.array, TISSUES)


def test_one_slice_stands_for_its_case(cases: Path) -> None:
    for path in (cases / "case_002_slice_10.nii.png", cases / "case_002_slice_0.nii.png"):
        (reference,) = find(path, ("zyx",))
        assert len(reference.slices) == SLICES
        ((array, keywords, kind),) = read_layers(str(path))
        assert (array.shape, keywords["name"], kind) == (HEAD.shape, "case_002", "image")
    labels = cases.with_name("keras_png_slices_seg_train") / "seg_002_slice_3.nii.png"
    ((array, _, kind),) = read_layers(str(labels))
    assert kind == "labels"
    np.testing.assert_array_equal(array, TISSUES)


def test_a_folder_opens_as_a_set_with_a_slider_for_its_cases(cases: Path) -> None:
    for folder in (cases, cases.parent):
        assert get_reader(str(folder)) is not None
        image, labels = read_layers(str(folder))
        assert image[0].shape == labels[0].shape == (3, *HEAD.shape)
        assert (image[2], labels[2]) == ("image", "labels")
        assert image[1]["metadata"]["napari_mrgen"]["cases"][2].startswith("case_003")


def test_of_a_large_set_the_first_cases_open_and_a_warning_says_so(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mrgen.io.plugin._MOST_VOXELS", 2 * HEAD.size)
    with pytest.warns(UserWarning, match="holds 3 cases; 2 of them are open, case_001 to case_002"):
        image, _ = read_layers(str(cases))
    assert len(image[0]) == 2


def test_lengths_are_in_voxels_not_in_millimetres(cases: Path, tmp_path: Path) -> None:
    volume = find(cases)[0].read()
    layer = to_layer(volume)
    assert layer[1]["units"] == ("voxel",) * 3
    assert "neither voxel size" in layer[1]["metadata"]["napari_mrgen"]["notes"][0]
    assert np.allclose(from_layer(layer).affine, volume.affine)
    nifti.write(volume, tmp_path / "case.nii")
    assert nib.load(tmp_path / "case.nii").header.get_xyzt_units()[0] == "unknown"
    back = nifti.read(tmp_path / "case.nii")
    np.testing.assert_array_equal(back.array, volume.array)
    assert to_layer(back)[1]["units"] == ("voxel",) * 3


@pytest.mark.parametrize("lost", [0, 5, SLICES - 1])
def test_a_case_that_lacks_a_slice(cases: Path, lost: int) -> None:
    (cases / f"case_002_slice_{lost}.nii.png").unlink()
    with pytest.raises(MrgenError, match=f"case_002 in .*_train lacks slice {lost};"):
        find(cases)
    if 0 < lost < SLICES - 1:
        with pytest.raises(MrgenError, match="lacks slice 5"):
            find(cases / "case_002_slice_0.nii.png")
    assert find(cases / "case_001_slice_0.nii.png")[0].subject == "case_001"


def test_labels_that_lack_a_slice(cases: Path) -> None:
    (cases.with_name("keras_png_slices_seg_train") / "seg_001_slice_4.nii.png").unlink()
    with pytest.raises(MrgenError, match="its image"):
        find(cases)[0].read_labels()


def test_labels_with_other_grey_values(cases: Path) -> None:
    folder = cases.with_name("keras_png_slices_seg_train")
    save(np.full(HEAD.shape[1:], 17, np.uint8), folder / "seg_001_slice_4.nii.png")
    with pytest.raises(MrgenError, match="grey value 17; 0, 85, 170 and 255 are expected"):
        find(cases)[0].read_labels()


def test_slices_of_other_sizes(cases: Path) -> None:
    save(HEAD[4, :20], cases / "case_001_slice_4.nii.png")
    with pytest.raises(MrgenError, match=r"slice_4.nii.png has 20 x 42 pixels, case_001_slice_0"):
        find(cases)[0].read()


def test_volumes_among_slices_are_refused(cases: Path) -> None:
    nifti.write(brain(0)[0], cases / "brain.nii.gz")
    for axes in ((), ("zyx",)):
        with pytest.raises(MrgenError, match=r"both PNG slices .* and volumes .brain.nii.gz.; cho"):
            find(cases, axes)


class TestPlainFolders:
    """Folders of PNG files that name no cases."""

    def test_each_file_is_an_image(self, tmp_path: Path) -> None:
        for name in ("a", "b", "b_mask"):
            save(HEAD[6], tmp_path / f"{name}.png")
        references = find(tmp_path, ("zyx",))
        assert [reference.path.name for reference in references] == ["a.png", "b.png"]
        volume = references[1].read()
        assert (volume.axes, volume.array.shape) == ("zyx", (1, *HEAD.shape[1:]))
        assert (volume.name, volume.subject) == ("b", "b")
        assert find(tmp_path / "a.png")[0].subject == "a"

    @pytest.mark.parametrize(
        ("names", "subjects"),
        [
            (["HF-01-IM-0001", "HF-01-IM-0002", "N-02-IM-0001"], {"HF-01", "N-02"}),
            (["x.nii.gz_1", "x.nii.gz_2", "y.nii.gz_1"], {"x", "y"}),
            (["sub-01_slice_1", "sub-01_slice_2", "sub-02_slice_1"], {"sub-01", "sub-02"}),
            (["OAI9000798_L_1", "OAI9000798_R_2"], {"OAI9000798"}),
            (["1", "2", "3"], {"1", "2", "3"}),
            (["slice_1", "slice_2"], {"slice_1", "slice_2"}),
            (
                [*(f"ill_{i}" for i in range(600)), "well_0"],
                {"well_0", *(f"ill_{i}" for i in range(600))},
            ),
        ],
    )
    def test_slices_of_one_subject_are_known_by_their_names(
        self, names: list[str], subjects: set[str]
    ) -> None:
        found = oasis_png.subjects_of([Path(f"{name}.png") for name in names], Path())
        assert {subject.name for subject in found.values()} == subjects

    def test_a_file_is_of_the_same_subject_alone_and_in_its_folder(self, tmp_path: Path) -> None:
        for name in ("a_1", "a_2", "b_1", "b_2_mask"):
            save(HEAD[6], tmp_path / f"{name}.png")
        for reference in find(tmp_path):
            assert find(reference.path) == (reference,)

    def test_sixteen_bits_keep_their_range(self, tmp_path: Path) -> None:
        array = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
        volume = oasis_png.read_slices([save(array, tmp_path / "a.png")])
        assert volume.array.dtype == np.uint16
        np.testing.assert_array_equal(volume.array[0], array)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
    def test_grey_in_other_modes(self, mode: str, tmp_path: Path) -> None:
        grey = np.where(HEAD[6] > 90, 255, 0).astype(np.uint8)
        Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(oasis_png.read_slices([tmp_path / "a.png"]).array[0], grey)

    def test_colour_is_refused(self, tmp_path: Path) -> None:
        array = np.stack([HEAD[6], HEAD[6], HEAD[5]], -1)
        with pytest.raises(MrgenError, match=r"a\.png is in colour"):
            oasis_png.read_slices([save(array, tmp_path / "a.png")])

    def test_a_file_that_is_cut_short(self, tmp_path: Path) -> None:
        whole = save(HEAD[6], tmp_path / "whole.png").read_bytes()
        cut = tmp_path / "cut.png"
        for length in (*range(60), len(whole) // 2, len(whole) - 40):
            cut.write_bytes(whole[:length])
            with pytest.raises(MrgenError, match=r"cut\.png is damaged or not a PNG") as refused:
                oasis_png.read_slices([cut])
            assert "\n" not in str(refused.value)

    def test_pictures_beside_volumes(self, tmp_path: Path) -> None:
        nifti.write(brain(0)[0], tmp_path / "brain.nii.gz")
        save(HEAD[6], tmp_path / "brain.png")
        assert [reference.path.name for reference in find(tmp_path)] == ["brain.nii.gz"]
        with pytest.raises(MrgenError, match="both PNG slices"):
            find(tmp_path, ("zyx",))
        with pytest.raises(MrgenError, match="no image with axes tzyx"):
            find(tmp_path, ("tzyx",))

    def test_napari_keeps_its_own_reader_for_them(self, tmp_path: Path) -> None:
        path = save(HEAD[6], tmp_path / "a.png")
        assert get_reader(str(path)) is None
        assert get_reader(str(tmp_path)) is None

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MrgenError, match="cannot be opened: No such file"):
            oasis_png.read_slices([tmp_path / "a.png"])


def test_ten_thousand_slices_are_found_unopened_and_quickly(tmp_path: Path) -> None:
    for name in ("case", "seg"):
        folder = tmp_path / f"keras_png_slices_{'seg_' if name == 'seg' else ''}train"
        folder.mkdir()
        for number in range(160):
            for k in range(32):
                (folder / f"{name}_{number:03d}_slice_{k}.nii.png").touch()
    start = time.process_time()
    references = find(tmp_path, ("zyx",))
    assert time.process_time() - start < 2
    assert len(references) == 160
    assert all(len(one.slices) == len(one.labels) == 32 for one in references)


def test_no_warning_where_all_cases_are_open(cases: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, labels = read_layers(str(cases))
    assert len(image[0]) == len(labels[0]) == 3
