"""OASIS-1 as distributed, made from a phantom: left is left, and a session is one subject's."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import plugin
from napari_mrgen.io.datasets import oasis
from napari_mrgen.io.find import find
from napari_mrgen.io.nifti import info, read
from napari_mrgen.samples import brain
from napari_mrgen.volume import Participant

MARKER = (-58.0, 12.0, 20.0)
"""Where a capsule stands beside the head, in mm to the right, front and top: on the left."""
BRIGHT = 30_000

# How each kind is stored, in words of its own: where the three axes lead to.
STORED = {
    "RAW/{0}_mpr-1_anon": ("front", "top", "left"),
    "PROCESSED/MPRAGE/SUBJ_111/{0}_mpr_n4_anon_sbj_111": ("front", "top", "left"),
    "PROCESSED/MPRAGE/T88_111/{0}_mpr_n4_anon_111_t88_gfc": ("left", "front", "top"),
    "PROCESSED/MPRAGE/T88_111/{0}_mpr_n4_anon_111_t88_masked_gfc": ("left", "front", "top"),
    "FSL_SEG/{0}_mpr_n4_anon_111_t88_masked_gfc_fseg": ("left", "front", "top"),
}
GRIDS = {
    "RAW": ((256, 256, 128), (1, 1, 1.25), 2),
    "SUBJ_111": ((256, 256, 160), (1, 1, 1), 2),
    "T88_111": ((176, 208, 176), (1, 1, 1), 0),
    "FSL_SEG": ((176, 208, 176), (1, 1, 1), 0),
}
TEXT = """SESSION ID:   {0}

AGE:          74
M/F:          Female
HAND:         Right
EDUC:         2
CDR:          0.5
MMSE:         29
eTIV:         1344
"""

Stored = npt.NDArray[np.int16]


@functools.cache
def head() -> nib.Nifti1Image:
    """Return the phantom with the marker where its own affine puts it, its axes to R, A and S."""
    phantom, _ = brain(0)
    array = np.array(phantom.array)
    place = np.linalg.inv(phantom.affine) @ (*MARKER, 1)
    array[tuple(np.rint(place[:3]).astype(int))] = BRIGHT
    return nib.as_closest_canonical(nib.Nifti1Image(array, phantom.affine))


def stored(lead: tuple[str, ...], shape: tuple[int, ...], spacing: tuple[float, ...]) -> Stored:
    """Sample the head on a grid about its centre whose axes lead there; 0 outside."""
    ras, axes = head(), [("left", "front", "top").index(word) for word in lead]
    values = np.pad(np.asarray(ras.dataobj).transpose(axes), 1)
    indices = []
    for axis, word, size, step in zip(axes, lead, shape, spacing, strict=True):
        mm = (np.arange(size) - (size - 1) / 2) * step * (-1 if word == "left" else 1)
        near = np.rint((mm - ras.affine[axis, 3]) / ras.affine[axis, axis]).astype(int)
        indices.append(near.clip(-1, ras.shape[axis]) + 1)
    return values[np.ix_(*indices)]


def write_analyze(path: Path, array: Stored, spacing: tuple[float, ...], orient: int) -> None:
    """Write a pair as OASIS has it: big-endian, four dimensions, an orientation code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(np.int16)
    header.set_data_shape((*array.shape, 1))
    header.set_zooms((*spacing, 1))
    raw = bytearray(header.binaryblock)
    raw[252] = orient
    path.with_suffix(".hdr").write_bytes(raw)
    path.with_suffix(".img").write_bytes(array.astype(">i2").tobytes(order="F"))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disc1") / "OAS1_0001_MR1"
    for pattern, lead in STORED.items():
        path = folder / pattern.format(folder.name)
        shape, spacing, orient = GRIDS[path.parent.name]
        array = stored(lead, shape, spacing)
        if path.parent.name == "FSL_SEG":
            array = np.where(array == BRIGHT, 3, array > 200).astype(np.int16)
        write_analyze(path, array, spacing, orient)
    (folder / f"{folder.name}.txt").write_text(TEXT.format(folder.name), "utf-8")
    return folder


@pytest.mark.parametrize("suffix", [".hdr", ".img"])
@pytest.mark.parametrize("pattern", STORED)
def test_the_marker_is_on_the_left(session: Path, pattern: str, suffix: str) -> None:
    path = session / (pattern.format(session.name) + suffix)
    volume = read(path)
    brightest = np.argwhere(volume.array == volume.array.max()).mean(0)
    assert (volume.affine @ (*brightest, 1))[:3] == pytest.approx(MARKER, abs=2)
    assert (volume.kind == "labels") == ("fseg" in pattern)
    assert "OASIS" in volume.source.notes[0]  # type: ignore[index]


def test_all_kinds_show_one_head_in_one_place(session: Path) -> None:
    atlas, bare = (read(path) for path in sorted(session.rglob("*gfc.hdr")))
    np.testing.assert_array_equal(atlas.array, bare.array)
    subject = read(next(session.rglob("*sbj_111.hdr")))
    for volume in (atlas, subject):
        assert np.all(np.argmax(np.abs(volume.affine[:3, :3]), axis=0) == [2, 1, 0])
        assert np.all(np.diag(volume.affine[[2, 1, 0], :3]) < 0), "down, back and left"
    middle = [np.array(volume.array.shape) // 2 for volume in (atlas, subject)]
    crops = [
        volume.array[tuple(slice(n - 40, n + 40) for n in centre)]
        for volume, centre in zip((atlas, subject), middle, strict=True)
    ]
    np.testing.assert_array_equal(*crops)


def test_a_session_stands_for_itself_once(session: Path) -> None:
    (reference,) = find(session.parent, ("zyx",))
    assert reference.path.stem.endswith("t88_masked_gfc")
    assert reference.subject == "OAS1_0001"
    volume, labels = reference.read(), reference.read_labels()
    assert volume.participant == Participant(age=74.0, sex="F", cdr=0.5, mmse=29.0)
    assert labels is not None
    assert labels.array.shape == volume.array.shape
    assert np.array_equal(labels.affine, volume.affine)
    assert np.array_equal(labels.array == 3, volume.array == BRIGHT)


def test_the_best_image_of_a_session() -> None:
    order = [f"{pattern.format('OAS1_0001_MR1')}.hdr" for pattern in STORED][:4]
    order.insert(1, "RAW/OAS1_0001_MR1_mpr-2_anon.hdr")
    paths = [Path("OAS1_0001_MR1") / name for name in order]
    other = Path("OAS1_0001_MR2/RAW/OAS1_0001_MR2_mpr-1_anon.hdr")
    for best in ("masked", "t88_gfc", "sbj", "mpr-1", "mpr-2"):
        chosen = oasis.best_of_sessions([*paths, other, Path("a.nii")])
        assert best in chosen[0].name
        assert chosen[1:] == [other, Path("a.nii")]
        paths.remove(chosen[0])


RAW = "OAS1_0001_MR1_mpr-1_anon.hdr"
SHAPE, SPACING = (256, 256, 128), (1.0, 1.0, 1.25)


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "orient"),
    [
        ("scan.hdr", SHAPE, SPACING, 2),
        ("OAS1_0001_MR1_mpr-1_anon_brain.hdr", SHAPE, SPACING, 2),
        (RAW, (128, 256, 256), SPACING, 2),
        (RAW, SHAPE, (1.0, 1.0, 1.0), 2),
        (RAW, SHAPE, SPACING, 1),
    ],
)
def test_what_only_looks_like_oasis_is_not_taken_for_it(
    name: str, shape: tuple[int, ...], spacing: tuple[float, ...], orient: int
) -> None:
    assert oasis.affine_of(Path(RAW), SHAPE, SPACING, 2) is not None
    assert oasis.affine_of(Path(name), shape, spacing, orient) is None


def test_an_analyze_file_from_elsewhere_is_a_guess_that_says_so(tmp_path: Path) -> None:
    write_analyze(tmp_path / "scan.hdr", np.zeros((5, 6, 7), np.int16), SPACING, 2)
    assert "guess" in read(tmp_path / "scan.hdr").source.notes[0]  # type: ignore[index]


def test_facts_from_xml_where_there_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "OAS1_0002_MR1"
    folder.mkdir()
    xml = '<x:S xmlns:x="u"><x:age>55</x:age><x:gender>male</x:gender><x:CDR/></x:S>'
    (folder / "OAS1_0002_MR1.xml").write_text(xml, "utf-8")
    assert oasis.read_participant(folder / "RAW" / "OAS1_0002_MR1_mpr-1_anon.hdr").known == {
        "age": 55.0,
        "sex": "M",
    }
    (folder / "OAS1_0002_MR1.xml").write_text("<x", "utf-8")
    damaged = oasis.read_participant(folder / "RAW" / "OAS1_0002_MR1_mpr-1_anon.hdr")
    assert damaged == Participant(), "what is beside a scan never stops it from opening"


def test_a_header_without_its_image(session: Path, tmp_path: Path) -> None:
    header = next(session.rglob("*mpr-1_anon.hdr"))
    shutil.copy(header, tmp_path)
    with pytest.raises(MrgenError, match=r"one half of a pair: .*\.img is missing"):
        find(tmp_path, ("zyx",))
    with pytest.raises(MrgenError, match="one half of a pair"):
        plugin.read_layers(str(tmp_path / header.name))


def test_a_disc_opens_as_a_set_of_cases(session: Path) -> None:
    second = session.with_name("OAS1_0002_MR1")
    for path in sorted(session.rglob("*masked_gfc*")):
        copy = second / str(path.relative_to(session)).replace("0001", "0002")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    try:
        layers = plugin.read_layers(str(session.parent))
    finally:
        shutil.rmtree(second)
    assert [(kind, array.shape) for array, _, kind in layers] == [
        ("image", (2, 176, 208, 176)),
        ("labels", (2, 176, 208, 176)),
    ]
    assert layers[0][1]["axis_labels"] == ("n", "z", "y", "x")


def test_peek_knows_the_geometry_that_read_gives(session: Path) -> None:
    path = next(session.rglob("*mpr-1_anon.hdr"))
    assert np.array_equal(info(path).affine, read(path).affine)
    assert info(path).spacing == pytest.approx((1, 1, 1.25))
