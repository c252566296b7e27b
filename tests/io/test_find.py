"""Finding scans: ACDC as it is found in the wild, and folders of anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets import acdc
from napari_mrgen.io.find import find, scans_in
from napari_mrgen.io.nifti import write
from napari_mrgen.samples import beating_heart
from napari_mrgen.volume import CardiacCycle, Participant, Volume

HEART, LABELS = beating_heart(frames=5, slices=2, size=32)


def frame(volume: Volume, number: int) -> Volume:
    return volume.with_array(volume.array[number], "zyx")


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """An ACDC patient: a cine, its frames 1 and 3 with labels, and Info.cfg."""
    folder = tmp_path / "training" / "patient007"
    folder.mkdir(parents=True)
    write(HEART, folder / "patient007_4d.nii.gz")
    for number in (1, 3):
        write(frame(HEART, number - 1), folder / f"patient007_frame0{number}.nii.gz")
        write(frame(LABELS, number - 1), folder / f"patient007_frame0{number}_gt.nii.gz")
    (folder / "Info.cfg").write_text("ED: 1\nES: 3\nGroup: DCM\nHeight: 171.5\nNbFrame: 5\n")
    return folder


def test_a_patient_is_one_cine_with_labels_at_their_frames(patient: Path) -> None:
    (reference,) = find(patient)
    assert reference.subject == "patient007"
    labels = reference.read_labels()
    assert labels is not None
    assert (labels.axes, labels.array.shape) == ("tzyx", HEART.array.shape)
    assert labels.times == pytest.approx(HEART.times, rel=1e-5)
    assert labels.labelled_frames == (0, 2)
    for number in range(5):
        expected = LABELS.array[number] if number in (0, 2) else np.zeros_like(LABELS.array[0])
        np.testing.assert_array_equal(labels.array[number], expected)


def test_info_is_kept_as_written_and_frames_also_count_from_0(patient: Path) -> None:
    (reference,) = find(patient)
    volume = reference.read()
    assert volume.participant == Participant(diagnosis="DCM", height_cm=171.5)
    assert volume.cardiac_cycle == CardiacCycle(ed_frame=0, es_frame=2)
    assert acdc.read_info(reference.path) == {
        "ED": 1, "ES": 3, "Group": "DCM", "Height": 171.5, "NbFrame": 5,
        "ed_frame": 0, "es_frame": 2,
    }  # fmt: skip


def test_frames_are_found_where_volumes_are_wanted(patient: Path) -> None:
    references = find(patient.parent, ("zyx",))
    assert [r.path.name for r in references] == [
        "patient007_frame01.nii.gz",
        "patient007_frame03.nii.gz",
    ]
    labels = references[0].read_labels()
    assert labels is not None
    np.testing.assert_array_equal(labels.array, LABELS.array[0])


def test_a_single_file_knows_its_labels_too(patient: Path) -> None:
    (reference,) = find(patient / "patient007_4d.nii.gz", ("tzyx",))
    assert [path.name for path in reference.labels] == [
        "patient007_frame01_gt.nii.gz",
        "patient007_frame03_gt.nii.gz",
    ]


def test_subjects_by_name(tmp_path: Path) -> None:
    names = ["IXI012-HH_T1", "IXI012-HH_T2", "sub-02_ses-1_T1w", "SC-01_4d", "plain"]
    for name in names:
        write(frame(HEART, 0), tmp_path / f"{name}.nii")
    (tmp_path / "sub-03" / "anat").mkdir(parents=True)
    write(frame(HEART, 0), tmp_path / "sub-03" / "anat" / "T1w.nii")
    subjects = {r.path.stem: r.subject for r in find(tmp_path)}
    assert subjects == {
        "IXI012-HH_T1": "IXI012-HH",
        "IXI012-HH_T2": "IXI012-HH",
        "sub-02_ses-1_T1w": "sub-02",
        "SC-01_4d": "SC-01",
        "plain": "plain",
        "T1w": "sub-03",
    }


def test_labels_hang_on_the_image_of_their_name(tmp_path: Path) -> None:
    write(frame(HEART, 0), tmp_path / "a.nii.gz")
    write(frame(LABELS, 0), tmp_path / "a_seg.nii.gz")
    write(frame(HEART, 0), tmp_path / "b.nii.gz")
    first, second = find(tmp_path)
    assert [path.name for path in first.labels] == ["a_seg.nii.gz"]
    assert second.read_labels() is None


def test_of_a_pair_only_the_header_is_listed(tmp_path: Path) -> None:
    for name in ("a.hdr", "a.img", "b.nii", ".hidden.nii", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in scans_in(tmp_path)] == ["a.hdr", "b.nii"]


def test_labels_of_another_size_are_refused(patient: Path) -> None:
    small = beating_heart(frames=5, slices=2, size=24)[1]
    write(frame(small, 0), patient / "patient007_frame01_gt.nii.gz")
    with pytest.raises(MrgenError, match="its image"):
        find(patient)[0].read_labels()


@pytest.mark.parametrize(
    ("axes", "message"), [((), "no image"), (("tzyx",), "1 with other axes"), (("nzyx",), "nzyx")]
)
def test_nothing_that_fits_is_a_sentence(
    axes: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    if axes:
        write(frame(HEART, 0), tmp_path / "a.nii.gz")
    with pytest.raises(MrgenError, match=message):
        find(tmp_path, axes)
    with pytest.raises(MrgenError, match=r"no .*nowhere"):
        find(tmp_path / "nowhere")


def test_a_file_of_another_kind_is_said_to_be_that(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write(frame(HEART, 0), tmp_path / name)
    with pytest.raises(MrgenError, match=r"a volume .*; expected a series of volumes in time"):
        find(tmp_path / "a.nii.gz", ("tzyx",))


class TestRealACDC:
    @pytest.fixture
    def acdc(self, mrgen_data: Path) -> Path:
        folder = mrgen_data / "acdc-sample"
        if not folder.is_dir():
            pytest.skip(f"no acdc-sample in {mrgen_data}")
        return folder

    def test_the_cine(self, acdc: Path) -> None:
        (reference,) = find(acdc / "training", ("tzyx",))
        volume = reference.read()
        assert (volume.subject, volume.axes) == ("patient090", "tzyx")
        assert volume.array.shape == (12, 7, 224, 154)
        assert volume.array.dtype == np.float32
        assert volume.spacing == pytest.approx((10, 1.78571, 1.78571), rel=1e-4)
        assert volume.times is None, "the file does not know its frame time"
        assert volume.cardiac_cycle == CardiacCycle(3, 10)
        assert volume.participant.diagnosis == "RV"

    def test_its_labels_lie_on_the_heart(self, acdc: Path) -> None:
        (reference,) = find(acdc / "training", ("tzyx",))
        volume, labels = reference.read(), reference.read_labels()
        assert labels is not None
        assert labels.labelled_frames == (3, 10)
        assert [bool(f.any()) for f in labels.array] == [i in (3, 10) for i in range(12)]
        blood = volume.array[labels.array == 3].mean()
        assert blood > 1.8 * volume.array[labels.array == 2].mean()

    def test_the_whole_tree(self, acdc: Path) -> None:
        references = find(acdc)
        assert len({r.subject for r in references}) == 8
        assert all(r.labels for r in references)
        spacings = {r.subject: r.read().spacing[1] for r in references}
        assert all(1.3 < spacing < 1.8 for spacing in spacings.values()), spacings
