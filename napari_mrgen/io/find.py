"""Find the scans under a path without reading them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets import acdc, oasis, oasis_png
from napari_mrgen.io.datasets.participants import (
    Table,
    participant_of,
    session_of,
    table_above,
)
from napari_mrgen.io.formats import (
    foreign_among,
    format_of,
    image_info,
    known_format,
    listed,
)
from napari_mrgen.io.naming import home_of, image_stem, is_label, set_of, stem, suffix_of
from napari_mrgen.io.raw_data import hdf5_series
from napari_mrgen.io.subjects import Subject, subject_of, subjects_in
from napari_mrgen.volume import UNKNOWN, Array, Kind, Participant, Volume, VolumeInfo

Scans = tuple["Reference", ...]

_MOST_FILES = 1_000_000
_HEADERS, _IMAGES = (".hdr", ".hdr.gz"), (".img", ".img.gz")
_KINDS = {
    "zyx": "a volume (axes zyx)",
    "tzyx": "a series of volumes in time (axes tzyx)",
    "czyx": "several volumes that are no series in time (axes czyx)",
}
_BIDS_APART = ("derivatives", "sourcedata", "code")
"""Folders of a BIDS data set that hold no scans of its own."""
_IN_PIECES = (
    "If each file is a phase or a slice of a cine, join them to one file a cine, such as with "
    "`fslmerge -t` in the order of their times."
)
_FREESURFER = ("T1", "norm", "nu", "orig", "brain", "rawavg", "orig_nu", "brain.finalsurfs")
"""What FreeSurfer keeps of one scan in a folder ``mri``; the first stands for it in training."""


@dataclass(frozen=True)
class Reference:
    """A scan on disk: where it is and whose it is; read when it is needed.

    Attributes
    ----------
    labels
        The label maps that belong to it, if any (for a cine of ACDC: of the ED and ES frames).
    slices
        The files of a volume that is kept slice by slice, from first to last; ``path`` is the
        first.
    participant
        What tables and text files beside it say of the subject.
    why_subject, doubt
        How its subject was found, and what a user should check of that.
    kind
        ``labels`` for a label map that is a scan only as there is no image beside it.
    set
        ``train``, ``test`` or ``val`` where a folder below the path that was given says so.
    """

    path: Path
    subject: str
    labels: tuple[Path, ...] = ()
    slices: tuple[Path, ...] = ()
    participant: Participant = UNKNOWN
    why_subject: str = ""
    doubt: str = ""
    kind: Kind = "image"
    set: str = ""

    @property
    def name(self) -> str:
        """What the image is called; of slices, the case."""
        return self.subject if self.slices else format_of(self.path).name_of(self.path)

    def info(self) -> VolumeInfo:
        """Return axes, shape and geometry of the image, without reading it where that can be."""
        return image_info(self.path, self.slices)

    def read(self) -> Volume:
        """Read the image, with what is known of the patient from files beside it."""
        form = format_of(self.path)
        if self.slices and form.read_slices is not None:
            volume = form.read_slices(self.slices)
        else:
            volume = form.read(self.path)
        own = volume.source.subject if volume.source else None
        return self._with_patient(replace(volume, subject=own or self.subject))

    def read_labels(self) -> Volume | None:
        """Return labels on the image's axes; frames without labels are zero."""
        if not self.labels:
            return None
        image, read_slices = self.info(), format_of(self.labels[0]).read_slices
        if self.slices and read_slices is not None:
            maps = [read_slices(self.labels)]
        else:
            maps = [format_of(path).read(path) for path in self.labels]
        array, frames = _on_axes(image, maps, self.labels[: len(maps)])
        volume = Volume(
            array=array,
            axes=image.axes,
            affine=image.affine,
            kind="labels",
            name=f"{self.name}_labels",
            subject=self.subject,
            labelled_frames=frames,
            times=image.times,
            source=maps[0].source if maps[0].axes == image.axes else None,
        )
        return self._with_patient(volume)

    def _with_patient(self, volume: Volume) -> Volume:
        patient, cycle = acdc.read_patient(self.path)
        return replace(
            volume,
            participant=volume.participant.updated(patient).updated(self.participant),
            cardiac_cycle=cycle or volume.cardiac_cycle,
        )


def find(path: Path, axes: tuple[str, ...] = ()) -> tuple[Reference, ...]:
    """List the images under a file or folder, sorted by subject, each with its label maps.

    The ED and ES frames of an ACDC patient are left out where the cine that they are copied from
    is listed, and of a session of OASIS-1 only one volume is (`oasis.best_of_sessions`). PNG files
    are slices: of a case together, else each an image of its own. A file of k-space is found by its
    own path, not in a folder.

    Parameters
    ----------
    path
        A file, or a folder that is searched with all folders in it.
    axes
        Only images with one of these axes are listed: ``("tzyx",)`` finds cines.

    Examples
    --------
    >>> import tempfile
    >>> from napari_mrgen.io import nifti
    >>> from napari_mrgen.samples import beating_heart
    >>> cine, labels = beating_heart(frames=2, slices=1, size=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nifti.write(cine, Path(folder, "sub-01_cine.nii.gz"))
    ...     nifti.write(labels, Path(folder, "sub-01_cine_seg.nii.gz"))
    ...     [(scan.subject, len(scan.labels)) for scan in find(Path(folder))]
    [('sub-01', 1)]
    """
    path = Path(path)
    if not path.exists():
        raise MrgenError(f"There is no {path}; check the path.")
    form = known_format(path) if path.is_file() else None
    is_slice = form is not None and form.read_slices is not None
    if form is not None and not (form.suffixes or is_slice):
        return (Reference(path, form.subject_of(path), why_subject="name"),)
    files = files_in(path if path.is_dir() else path.parent, recursive=path.is_dir())
    scans = scans_among(files)
    takes_slices = not axes or "zyx" in axes
    slices = _slices(path, [f for f in files if oasis_png.is_png(f)]) if takes_slices else []
    volumes = [] if is_slice else _volumes(path, scans, axes)
    if slices and volumes and (axes or slices[0].slices):
        msg = (
            f"{path} holds both PNG slices ({slices[0].path.name}) and volumes "
            f"({volumes[0].path.name}); choose a folder with one kind."
        )
        raise MrgenError(msg)
    references = volumes or slices  # Pictures beside scans are not scans.
    if not references:
        raise MrgenError(_nothing_found(path, axes, scans))
    known = _with_participants(replace(one, set=set_of(one.path, path)) for one in references)
    return tuple(sorted(known, key=lambda reference: (reference.subject, reference.path)))


def find_series(path: Path) -> tuple[Reference, ...]:
    """List the series in HDF5 files, in their order; none where there is no such file.

    Whose they are is not known: each is a subject, named by its set and its place in the file.
    """
    places = hdf5_series.series_in(Path(path))
    sets = [set_of(place, path) for place in places]
    return tuple(
        Reference(
            place, f"{own or 'series'} {place.name}", why_subject="place in the file", set=own
        )
        for place, own in zip(places, sets, strict=True)
    )


def series_or_scans(path: Path, role: str, axes: tuple[str, ...]) -> dict[str, Scans]:
    """Find the series in HDF5 files for a role, or without such files the images there."""
    return {role: find_series(path) or find(path, axes)}


def reference_to(path: Path) -> Reference:
    """Refer to one file, whatever is beside it; to the whole case where it is a slice of one."""
    form = known_format(path)
    if form.read_slices is not None:
        return replace(find(path)[0], labels=())
    return next(_with_participants([Reference(path, form.subject_of(path))]))


def scans_in(folder: Path) -> list[Path]:
    """List the MRI files in a folder and all folders in it, by name; of a pair the header."""
    return scans_among(files_in(folder))


def scans_among(files: Iterable[Path]) -> list[Path]:
    """List the MRI files among files, by name; of a pair the header."""
    return _one_of_each_pair(listed(files))


def files_in(folder: Path, *, recursive: bool = True, all_folders: bool = False) -> list[Path]:
    """List the files of a folder, those of linked folders too, each folder once.

    What BIDS keeps apart (`_BIDS_APART`) is left out of a data set, unless ``all_folders``.
    """
    files: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = os.stat(parent)
        if (here.st_dev, here.st_ino) in seen:
            folders[:] = []
            continue
        seen.add((here.st_dev, here.st_ino))
        apart = () if all_folders else folders_apart((*folders, *names))
        inner = (f for f in folders if not f.startswith(".") and f not in apart)
        folders[:] = sorted(inner) if recursive else []
        files += [Path(parent, name) for name in names if not name.startswith(".")]
        if len(files) > _MOST_FILES:
            msg = f"{folder} holds more than {_MOST_FILES:,} files; choose a folder further down."
            raise MrgenError(msg)
    return files


def folders_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Return which of a folder's entries are searched only where they are given themselves."""
    is_bids = "dataset_description.json" in names or any(name.startswith("sub-") for name in names)
    return _BIDS_APART if is_bids else ()


def _one_of_each_pair(scans: Sequence[Path]) -> list[Path]:
    """Return the files sorted, without images whose header is among them."""
    headers = {scan.with_name(stem(scan)) for scan in scans if suffix_of(scan) in _HEADERS}
    images = {s for s in scans if suffix_of(s) in _IMAGES and s.with_name(stem(s)) in headers}
    return sorted(scan for scan in scans if scan not in images)


def _slices(path: Path, pngs: list[Path]) -> list[Reference]:
    """Return the cases among PNG files, or where there are none each file by itself."""
    cases = oasis_png.cases_in(pngs)
    if not path.is_dir():
        cases = tuple(case for case in cases if path in case.slices)
    if cases:
        return _cases(cases)
    root = path if path.is_dir() else path.parent
    labels = {file for file in pngs if is_label(file.with_suffix(""), root)}
    images = [file for file in pngs if file not in labels] or pngs
    subjects = oasis_png.subjects_of(images, root)
    chosen = images if path.is_dir() else [file for file in pngs if file == path]
    unknown = Subject(path.stem, "name")
    return [_reference(file, subjects.get(file, unknown)) for file in chosen]


def _cases(cases: Iterable[oasis_png.Case]) -> list[Reference]:
    """Return cases with the labels found among them or beside them; else labels by themselves."""
    labels = [case for case in cases if case.kind == "labels"]
    images = [case for case in cases if case.kind == "image"]
    beside = {oasis_png.labels_folder(image.folder) for image in images}
    for folder in beside - {label.folder for label in labels}:
        if folder.is_dir():
            labels += oasis_png.cases_in(files_in(folder, recursive=False))
    maps = {(case.set, case.number): case.slices for case in labels} if images else {}
    oasis_png.check_complete(images or labels)
    return [
        Reference(one.slices[0], one.subject, maps.get((one.set, one.number), ()), one.slices)
        for one in images or labels
    ]


def _reference(path: Path, subject: Subject, labels: tuple[Path, ...] = ()) -> Reference:
    return Reference(path, subject.name, labels, why_subject=subject.why, doubt=subject.doubt)


def _volumes(path: Path, scans: list[Path], axes: tuple[str, ...]) -> list[Reference]:
    root = path if path.is_dir() else path.parent
    labels = [scan for scan in scans if is_label(scan, root)]
    are_labels = set(labels)
    images = [scan for scan in scans if scan not in are_labels] or labels
    images = best_versions(images) if path.is_dir() else [path]
    images = [image for image in images if not axes or _header_of(image)[0] in axes]
    cines = {home_of(image) for image in images if acdc.is_cine(image)}
    maps: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for label in labels:
        for key in _images_of(label):
            maps[key].append(label)
    subjects = subjects_in(scans, root) if path.is_dir() else {}
    references = []
    for image in images:
        if acdc.is_frame(image) and home_of(image) in cines:
            continue
        key = oasis.atlas_key(image) or (home_of(image), stem(image))
        own = tuple(label for label in maps.get(key, ()) if label != image)
        subject = subjects.get(image) or Subject(format_of(image).subject_of(image), "name")
        one = _reference(image, subject, own)
        references.append(replace(one, kind="labels") if image in are_labels else one)
    return references


def best_versions(images: Sequence[Path]) -> list[Path]:
    """Keep one image of each session of OASIS-1 and of each ``mri`` folder of FreeSurfer."""
    versions: dict[Path, dict[str, Path]] = defaultdict(dict)
    for image in images:
        if image.parent.name == "mri" and stem(image) in _FREESURFER:
            versions[image.parent][stem(image)] = image
    best = {own[next(name for name in _FREESURFER if name in own)] for own in versions.values()}
    # The scan before it was prepared lies in a folder "orig" of that.
    homes = {i: i.parent.parent if i.parent.name == "orig" else i.parent for i in images}
    kept = [image for image in images if image in best or homes[image] not in versions]
    return oasis.best_of_sessions(kept)


def _images_of(label: Path) -> Iterator[tuple[Path, str]]:
    """Yield where the images are that a map belongs to, and their names without suffix.

    In the same folder, of the same name but for the words that say labels; or of one name in the
    folder of images beside a folder of labels, as of nnU-Net. A frame's labels also belong to the
    cine.
    """
    if atlas := oasis.atlas_key(label):
        yield atlas
        return
    name = image_stem(label)
    home = home_of(label)
    yield home, name
    if home.name.startswith("labels"):
        images = home.with_name(home.name.replace("labels", "images", 1))
        yield images, stem(label)
        yield images, f"{stem(label)}_0000"
    if acdc.is_frame(label):
        yield home_of(label), f"{subject_of(label)}_4d"


def _with_participants(references: Iterable[Reference]) -> Iterator[Reference]:
    """Add what tables and text files beside the scans know of the subjects."""
    tables: dict[tuple[Path, str], Table] = {}
    for reference in references:
        key = (reference.path.parent, reference.subject)
        if key not in tables:
            tables[key] = table_above(*key)
        row = participant_of(reference.subject, tables[key], session_of(reference.path))
        session = oasis.read_participant(reference.path)
        yield replace(reference, participant=row.updated(session))


def table_notes(references: Iterable[Reference]) -> tuple[str, ...]:
    """Say what of the tables beside scans could not be read."""
    keys = {(one.path.parent, one.subject) for one in references}
    return tuple(sorted({note for key in keys for note in table_above(*key).notes}))


def _on_axes(
    image: VolumeInfo, maps: list[Volume], paths: tuple[Path, ...]
) -> tuple[Array, tuple[int, ...]]:
    """Lay label maps on the image's axes; return them and the frames that have any."""
    for volume, path in zip(maps, paths, strict=True):
        if volume.array.shape[-3:] != image.shape[-3:]:
            msg = f"{path.name} has {volume.array.shape[-3:]} voxels, its image {image.shape[-3:]}."
            raise MrgenError(msg)
    if maps[0].axes == image.axes:
        return maps[0].array, tuple(range(maps[0].size("t")))
    array = np.zeros(image.shape, maps[0].array.dtype)
    frames = []
    for volume, path in zip(maps, paths, strict=True):
        frame = acdc.frame_of(path)
        if frame is None or frame >= len(array):
            msg = f"{path.name} labels one frame of a cine of {len(array)}, its name not which."
            raise MrgenError(msg)
        array[frame] = volume.array
        frames.append(frame)
    return array, tuple(frames)


def _header_of(path: Path) -> tuple[str, str]:
    """Return the axes of an image; '' and what is wrong with it where it cannot be read."""
    try:
        return image_info(path).axes, ""
    except MrgenError as error:
        return "", str(error)


def _nothing_found(path: Path, axes: tuple[str, ...], scans: list[Path]) -> str:
    """Say that nothing was found, and of scans that are there why they are not taken."""
    if path.is_file():
        own, fault = _header_of(path)
        if fault:
            return fault
        expected = " or ".join(_KINDS.get(one, one) for one in axes)
        why = " ".join(image_info(path).doubts) if own == "czyx" else ""
        what = _KINDS.get(own, f"the axes {own}")
        return f"{path} holds {what}; expected {expected}. {why}".strip()
    faults = [fault for scan in scans if (fault := _header_of(scan)[1])]
    if faults and len(faults) == len(scans):
        return f"There is no image to take in {path}: {faults[0]}"
    kind = f"with axes {' or '.join(axes)}" if axes else "(NIfTI, Analyze, MGH or PNG)"
    rest = f"; {len(scans)} with other axes" if axes and scans else ""
    other = next((scan for scan in scans if _header_of(scan)[0] == "czyx"), None)
    if other is not None:
        why = image_info(other).doubts[-1]
        return f"There is no image {kind} in {path}{rest}. {other.name}: {why}"
    pieces = f" {_IN_PIECES}" if axes == ("tzyx",) and len(scans) > 1 else ""
    what = "" if scans else foreign_among(files_in(path))
    return f"There is no image {kind} in {path}{rest}.{pieces} {what}".strip()
