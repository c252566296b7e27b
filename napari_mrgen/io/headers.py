"""Headers of NIfTI-1, NIfTI-2, Analyze 7.5 and MGH as one plain value, every field checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.spm2analyze import Spm2AnalyzeHeader

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets import oasis
from napari_mrgen.io.facts import Extension, read_extensions
from napari_mrgen.io.files import read_head
from napari_mrgen.io.geometry import Affine
from napari_mrgen.io.naming import stem, suffix_of

AnyHeader = Any
"""A header of nibabel; its classes are half typed."""

HEADER_CLASSES: dict[str, Any] = {"nifti1": nib.Nifti1Header, "nifti2": nib.Nifti2Header}
HEADER_SIZES = {"nifti1": 348, "nifti2": 540}
LABEL_INTENT = 1002
SAMPLES = b"samples"
"""Intent name of a file whose last axis counts samples of a model."""
PROGRAM = "napari-mrgen"
"""How the description begins of each header that this program made."""

_MGH_SIZE = 284
_ORIENT = 252
"""Where an Analyze header holds its orientation code."""
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
_CIFTI_INTENTS = range(3000, 3100)
_ROUNDING = 1e-7
"""By so much a quaternion of length 1 is made shorter, for it is kept in 32 bits."""
_MOST_EXTENSIONS = 64 << 20


@dataclass(frozen=True)
class Header:
    """What is needed to read an image, and to write it again.

    Attributes
    ----------
    raw
        The header as stored, with its extensions.
    image
        The file that holds the voxels, and ``offset`` where in it.
    shape
        As stored, ``(i, j, k, ...)``.
    scaling
        Slope and intercept, where they change anything.
    affine
        (4, 4), from stored indices to scanner millimetres, RAS+.
    interval, start
        Time between frames in s, None where the file does not say; and when the first one is.
    intent, time_code
        NIfTI's codes for what the values are, and for the unit of the fourth axis.
    codes
        Of the qform and the sform.
    extensions
        Of the header, as stored.
    spacing_known
        False where this program wrote what was read without a voxel size, such as PNG.
    notes
        What a user should know, in sentences.
    """

    form: str
    raw: bytes
    image: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: Affine
    scaling: tuple[float, float] | None = None
    interval: float | None = None
    start: float = 0.0
    samples: bool = False
    labels: bool = False
    intent: int = 0
    time_code: int = 0
    codes: tuple[int, int] = (0, 0)
    extensions: tuple[Extension, ...] = ()
    spacing_known: bool = True
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """Read and check the header of an MRI file; of a pair, either file may be given."""
    if suffix_of(path).startswith(".img"):
        path = _partner(path, ".hdr")
    head = read_head(path, HEADER_SIZES["nifti2"])
    try:
        if suffix_of(path) in (".mgz", ".mgh"):
            return _read_mgh(path, head)
        form, endianness = _recognise(path, head)
        if form == "analyze":
            return _read_analyze(path, head, endianness)
        header = HEADER_CLASSES[form](head[: HEADER_SIZES[form]], endianness, check=False)
        return _read_nifti(path, form, header)
    except (HeaderDataError, ValueError, KeyError, ArithmeticError) as error:
        raise MrgenError(f"{path.name} has an invalid header: {error}.") from error


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI, Analyze or MGH: HDR photographs and disk images are not."""
    kind = suffix_of(path).removesuffix(".gz")
    if kind == ".img":
        partners = (path.with_name(stem(path) + suffix) for suffix in (".hdr", ".hdr.gz"))
        return any(partner.is_file() for partner in partners)
    if kind != ".hdr":
        return bool(kind)
    try:
        _recognise(path, read_head(path, HEADER_SIZES["nifti2"]))
    except MrgenError:
        return False
    return True


def _recognise(path: Path, head: bytes) -> tuple[str, str]:
    """Return the format and the byte order, by the header's own length and its magic."""
    for endianness in "<>":
        length = int(np.frombuffer(head[:4].ljust(4, b"\0"), endianness + "i4")[0])
        if length == HEADER_SIZES["nifti2"] <= len(head) and head[4:7] in (b"n+2", b"ni2"):
            return "nifti2", endianness
        if length == HEADER_SIZES["nifti1"] <= len(head):
            return ("nifti1" if head[344:347] in (b"n+1", b"ni1") else "analyze"), endianness
    msg = f"{path.name} is not a NIfTI, Analyze or MGH image."
    raise MrgenError(msg)


def _read_nifti(path: Path, form: str, header: AnyHeader) -> Header:
    if int(header["intent_code"]) in _CIFTI_INTENTS:
        raise MrgenError(f"{path.name} is a CIFTI file (surfaces and parcels), not an image.")
    # As the file is called: some programs write the magic of a pair into a single file.
    is_pair = suffix_of(path).startswith((".hdr", ".img"))
    offset = _offset(path, header)
    first = max(offset, HEADER_SIZES[form] + 4)
    affine, notes = _nifti_affine(header)
    interval, start = _clock(header)
    raw = read_head(path, HEADER_SIZES[form] if is_pair else first)
    return Header(
        form=form,
        raw=raw,
        image=_partner(path, ".img") if is_pair else path,
        offset=offset if is_pair else first,
        shape=_shape(path, header, int(header["dim"][0])),
        dtype=_dtype(path, header),
        scaling=_scaling(header),
        affine=_checked(path, affine),
        interval=interval,
        start=start,
        samples=header["intent_name"].item() == SAMPLES,
        labels=int(header["intent_code"]) == LABEL_INTENT,
        intent=int(header["intent_code"]),
        time_code=int(header["xyzt_units"]) & 0x38,
        codes=(int(header["qform_code"]), int(header["sform_code"])),
        extensions=tuple(read_extensions(raw, HEADER_SIZES[form], header.endianness)),
        spacing_known=_is_spacing_known(header),
        notes=notes,
    )


def _read_analyze(path: Path, head: bytes, endianness: str) -> Header:
    header = Spm2AnalyzeHeader(head[:348], endianness, check=False)
    shape = _shape(path, header, int(header["dim"][0]))
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    oasis_affine = oasis.affine_of(path, shape, tuple(header["pixdim"][1:4]), head[_ORIENT])
    note = "Analyze 7.5 holds no orientation: left and right are a guess (LAS, as in nibabel)."
    if oasis_affine is not None:
        note = "Analyze 7.5 holds no orientation: it is that of all OASIS files of this name."
    return Header(
        form="analyze",
        raw=head[:348],
        image=_partner(path, ".img"),
        offset=_offset(path, header),
        shape=shape,
        dtype=_dtype(path, header),
        affine=_checked(path, header.get_best_affine() if oasis_affine is None else oasis_affine),
        scaling=_scaling(header),
        notes=(note,),
    )


def _read_mgh(path: Path, head: bytes) -> Header:
    if len(head) < _MGH_SIZE:
        raise MrgenError(f"{path.name} is not an MGH image.")
    # nibabel wants the fields after the image too; they hold no geometry.
    fields = MGHHeader(head.ljust(MGHHeader.template_dtype.itemsize, b"\0"), check=False)
    return Header(
        form="mgh",
        raw=head[:_MGH_SIZE],
        image=path,
        offset=_MGH_SIZE,
        shape=_shape(path, fields, 4),
        dtype=_dtype(path, fields),
        affine=_checked(path, fields.get_affine()),
    )


def _dtype(path: Path, header: AnyHeader) -> np.dtype[Any]:
    """Return the type of the voxels; refuse what is not one number."""
    dtype: np.dtype[Any] = header.get_data_dtype()
    if dtype.kind == "c":
        msg = f"{path.name} holds complex values; save its magnitude as an image of its own."
        raise MrgenError(msg)
    if dtype.fields:
        raise MrgenError(f"{path.name} holds colours (RGB); an MRI of one value a voxel is needed.")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        msg = f"{path.name} holds values of type {dtype}; only numbers of up to 64 bit are read."
        raise MrgenError(msg)
    return dtype


def _shape(path: Path, header: AnyHeader, dimensions: int) -> tuple[int, ...]:
    shape = tuple(int(n) for n in header.get_data_shape())
    # The length of an axis that is not used may be 0: as in the NIfTI library that counts as 1.
    shape = (*shape[:3], *(max(n, 1) for n in shape[3:]))
    if not 1 <= dimensions <= 7:
        msg = f"{path.name} has an invalid header: {dimensions} dimensions."
        raise MrgenError(msg)
    if min(shape) < 1:
        msg = f"{path.name} holds no voxels: its header gives the shape {shape}."
        raise MrgenError(msg)
    return shape


def _offset(path: Path, header: AnyHeader) -> int:
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MOST_EXTENSIONS:
        msg = f"{path.name} has an invalid header: its image starts at byte {offset:g}."
        raise MrgenError(msg)
    return int(offset)


def _scaling(header: AnyHeader) -> tuple[float, float] | None:
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope, intercept) == (1, 0):
        return None
    return float(slope), float(intercept or 0)


def _is_spacing_known(header: AnyHeader) -> bool:
    """Whether lengths are mm. Others leave the unit out where they are; this program does not."""
    is_ours = header["descrip"].item().startswith(PROGRAM.encode())
    return not is_ours or bool(int(header["xyzt_units"]) & 0x07)


def _clock(header: AnyHeader) -> tuple[float | None, float]:
    """Return the time between frames, None where it or its unit is not given, and the first."""
    unit = _SECONDS.get(int(header["xyzt_units"]) & 0x38, 0.0)
    step, start = float(header["pixdim"][4]) * unit, float(header["toffset"]) * unit
    interval = step if math.isfinite(step) and step > 0 else None
    return interval, start if math.isfinite(start) else 0.0


def _nifti_affine(header: AnyHeader) -> tuple[Affine, tuple[str, ...]]:
    """Choose the affine as nibabel does, in mm; see the notes for what was doubtful."""
    header["pixdim"][0] = -1 if header["pixdim"][0] == -1 else 1
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    notes = _mend(header)
    affine = np.array(header.get_best_affine(), np.float64)
    pixdim = np.array(header["pixdim"][1:4], np.float64)
    notes += _doubts(header, affine)
    if _lacks_spacing(affine, pixdim):
        affine[:3, :3] *= pixdim
        notes.append("The affine holds no voxel size: it is taken from pixdim.")
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & 0x07, 1.0)
    return affine, tuple(notes)


def _mend(header: AnyHeader) -> list[str]:
    """Mend orientations in place as the NIfTI library does; return what was done.

    A quaternion that rounding made longer than 1 is scaled, and a form that gives voxels no size is
    not used where the other one does.
    """
    quaternion = np.array([header[f"quatern_{axis}"] for axis in "bcd"], np.float64)
    length = float((quaternion**2).sum())
    notes = []
    if math.isfinite(length) and length > 1:
        for axis, value in zip("bcd", quaternion / math.sqrt(length), strict=True):
            header[f"quatern_{axis}"] = value * (1 - _ROUNDING)
    sform = np.array([header[f"srow_{axis}"] for axis in "xyz"], np.float64)
    has_both = int(header["sform_code"]) and int(header["qform_code"])
    if has_both and not _is_valid(sform):
        header["sform_code"] = 0
        notes.append("The sform gives voxels no size: the qform is used.")
    return notes


def _is_valid(matrix: Affine) -> bool:
    return bool(np.isfinite(matrix).all() and abs(np.linalg.det(matrix[:, :3])) > 0)


def _lacks_spacing(affine: Affine, pixdim: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether the columns have unit length while pixdim knows better, as in ACDC."""
    is_unit = np.allclose(np.linalg.norm(affine[:3, :3], axis=0), 1, atol=1e-4)
    is_given = bool(np.isfinite(pixdim).all() and pixdim.min() > 0)
    return bool(is_unit and is_given and not np.allclose(pixdim, 1, atol=1e-4))


def _doubts(header: AnyHeader, affine: Affine) -> list[str]:
    qform_code, sform_code = int(header["qform_code"]), int(header["sform_code"])
    if not qform_code and not sform_code:
        return ["The header gives no orientation: left and right are a guess (as in nibabel)."]
    if qform_code and sform_code:
        try:
            qform = header.get_qform()
        except (HeaderDataError, ValueError):
            return ["The qform is invalid; the sform is used."]
        if not np.allclose(qform, affine, rtol=1e-3, atol=1e-2):
            return ["The qform and the sform differ; the sform is used."]
    return []


def _checked(path: Path, affine: Affine) -> Affine:
    """Refuse an affine that gives voxels no size."""
    affine = np.array(affine, np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or spacing.min() == 0:
        shown = " x ".join(f"{size:g}" for size in spacing)
        msg = f"{path.name} has voxels of {shown} mm: its header holds no valid geometry."
        raise MrgenError(msg)
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-6:
        raise MrgenError(f"{path.name} has an affine that flattens space; correct its header.")
    return affine


def _partner(path: Path, kind: str) -> Path:
    """Return the other file of a pair; either may be compressed without the other."""
    gz = ".gz" if path.name.lower().endswith(".gz") else ""
    other_gz = "" if gz else ".gz"
    for suffix in (kind + gz, kind + other_gz, (kind + gz).upper(), (kind + other_gz).upper()):
        partner = path.with_name(stem(path) + suffix)
        if partner.is_file():
            return partner
    msg = f"{path.name} is one half of a pair: {stem(path) + kind} is missing beside it."
    raise MrgenError(msg)
