"""The file formats that images are read from, in one list.

A new format is one file with a function that knows its files and a function that reads them, and
one entry in `FORMATS`; finding, reading, ``info`` and the napari plugin ask this list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.datasets import oasis_png
from napari_mrgen.io.headers import is_nifti
from napari_mrgen.io.naming import SUFFIXES, stem
from napari_mrgen.io.raw_data import hdf5_series, kspace
from napari_mrgen.io.subjects import plain_subject, subject_of
from napari_mrgen.volume import Volume, VolumeInfo


@dataclass(frozen=True)
class Format:
    """How the images of one kind of file are known, found and read.

    Attributes
    ----------
    matches
        Whether a path is of this format, by its name and at most the first bytes.
    read, info
        Read the image, or what its header says; without ``info`` the image is read for that.
    check
        Raises `MrgenError` for a file whose header or size tell that it cannot be read.
    suffixes
        In lower case, of the files that are listed in folders. Without any, a file is found by its
        own path only.
    read_slices, slices_info
        The same for one image that is kept as several files, a slice each.
    name_of, subject_of
        What the image is called, and whose it is, by its path.
    opens
        Whether napari offers to open such files with this plugin.
    is_raw
        Whether it holds what a scanner measured, of which the image is only a first view.
    """

    name: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Volume]
    info: Callable[[Path], VolumeInfo] | None = None
    check: Callable[[Path], object] | None = None
    suffixes: tuple[str, ...] = ()
    read_slices: Callable[[Sequence[Path]], Volume] | None = None
    slices_info: Callable[[Sequence[Path]], VolumeInfo] | None = None
    name_of: Callable[[Path], str] = stem
    subject_of: Callable[[Path], str] = subject_of
    opens: bool = True
    is_raw: bool = False


_MOST_LOOKED_AT = 200
NIFTI = Format(
    "NIfTI, Analyze or MGH", is_nifti, nifti.read, nifti.info, nifti.check, suffixes=SUFFIXES
)
PNG = Format(
    name="PNG",
    matches=oasis_png.is_png,
    read=lambda path: oasis_png.read_slices([path]),
    info=lambda path: oasis_png.slices_info([path]),
    check=lambda path: oasis_png.slices_info([path]),
    read_slices=oasis_png.read_slices,
    slices_info=oasis_png.slices_info,
    opens=False,  # Most pictures are not scans.
)
FORMATS: list[Format] = [
    NIFTI,
    replace(PNG, name="slice of a case as PNG", matches=oasis_png.is_case, opens=True),
    PNG,
    Format(
        name="series in an HDF5 file",
        matches=hdf5_series.is_series,
        read=hdf5_series.read_series,
        name_of=hdf5_series.series_name,
        opens=False,
    ),
    Format(
        name="k-space",
        matches=kspace.is_kspace,
        read=kspace.read_image,
        subject_of=plain_subject,
        is_raw=True,
    ),
]
"""In the order in which they are asked."""


def format_of(path: Path) -> Format:
    """Return the format of a file; that of NIfTI, whose errors say most, where none matches."""
    return next((one for one in FORMATS if one.matches(path)), NIFTI)


def known_format(path: Path) -> Format:
    """Return the format of a file; raise `MrgenError` that names one which is not read."""
    form = format_of(path)
    if not form.matches(path) and (what := foreign(path)):
        raise MrgenError(what)
    return form


def image_info(path: Path, slices: Sequence[Path] = ()) -> VolumeInfo:
    """Return axes, shape and geometry of an image, from its header where it has one."""
    form = format_of(path)
    if slices and form.slices_info is not None:
        return form.slices_info(slices)
    if form.info is not None:
        return form.info(path)
    volume = form.read(path)
    shape = volume.array.shape
    return VolumeInfo(volume.axes, shape, volume.affine, volume.times, volume.spacing_known)


def fault_of(path: Path) -> str:
    """Say why a file's image cannot be read, as far as its header and size tell; else ''."""
    check = format_of(path).check
    if check is None:
        return ""
    try:
        check(path)
    except MrgenError as error:
        return str(error)
    return ""


_FOREIGN = {
    (".dcm", ".ima"): ("DICOM", "convert its series with `dcm2niix -z y FOLDER`"),
    (".nrrd", ".nhdr", ".mha", ".mhd"): (
        "NRRD or MetaImage",
        "save it as .nii.gz, as 3D Slicer, ITK-SNAP and SimpleITK do",
    ),
    (".mnc", ".mnc.gz"): ("MINC", "convert it with `mnc2nii`"),
    (".mif", ".mif.gz", ".mih"): ("MRtrix (MIF)", "convert it with `mrconvert IN OUT.nii.gz`"),
    (".par", ".rec"): ("Philips PAR/REC", "convert it with `dcm2niix`"),
    (".head", ".brik", ".brik.gz"): ("AFNI", "convert it with `3dAFNItoNIFTI`"),
    (".dat",): ("Siemens raw data (twix)", "convert it with `siemens_to_ismrmrd`"),
    (".jpg", ".jpeg", ".tif", ".tiff", ".bmp"): ("a photograph format", "save slices as PNG"),
    (".npz",): ("a ZIP file of NumPy arrays", "save one complex array as .npy"),
}
_HDF5_SUFFIXES = (".h5", ".hdf5", ".mrd", ".mat")
_KSPACE_KINDS = (
    "k-space is read from ISMRMRD (a group with xml and data), fastMRI (a dataset kspace), BART "
    "(.cfl with .hdr) and complex .npy files; series of images from datasets imagesRecon and "
    "imagesTrue"
)


def foreign(path: Path) -> str:
    """Name the format of a file that is not read, and what converts it; '' where that is not known.

    Examples
    --------
    >>> foreign(Path("scan.nrrd"))
    'scan.nrrd is NRRD or MetaImage: save it as .nii.gz, as 3D Slicer, ITK-SNAP and SimpleITK do.'
    """
    name = path.name.lower()
    for suffixes, (form, advice) in _FOREIGN.items():
        if name.endswith(suffixes) or (form == "DICOM" and _is_dicom(path)):
            return f"{path.name} is {form}: {advice}."
    if name.endswith(_HDF5_SUFFIXES) and path.is_file():
        with path.open("rb") as file:
            head = file.read(128)
        if head.startswith(b"MATLAB 5"):
            return f"{path.name} is MATLAB 5: save it in MATLAB with -v7.3. {_KSPACE_KINDS}."
        if head.startswith((b"\x89HDF", b"MATLAB 7.3")):
            return f"{path.name} is HDF5 of a kind that is not read: {_KSPACE_KINDS}."
    return ""


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def foreign_among(files: Iterable[Path]) -> str:
    """Name what is not read among the first files of a folder, and what converts it; else ''."""
    return next(filter(None, map(foreign, islice(files, _MOST_LOOKED_AT))), "")


def listed(files: Iterable[Path]) -> list[Path]:
    """Return those files of a folder that are an image each, by their names."""
    suffixes = tuple(suffix for one in FORMATS for suffix in one.suffixes)
    return [file for file in files if file.name.lower().endswith(suffixes)]
