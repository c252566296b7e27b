"""k-space of the fastMRI challenge: HDF5 with the dataset ``kspace``.

Its axes are slices, coils (not where there is one), readout, phase encoding. Zbontar et al.,
arXiv:1811.08839.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import opened_hdf5
from napari_mrgen.io.naming import plain_subject
from napari_mrgen.io.raw_data.ismrmrd import read_ismrmrd_header
from napari_mrgen.kspace import KSpace
from napari_mrgen.volume import Source, upright_affine

_NOTE = "fastMRI files hold no orientation: left and right are not known."
_NO_SIZE = "The file has no header: lengths are in voxels."


def is_fastmri(path: Path) -> bool:
    """Whether a file is HDF5 with a dataset called ``kspace``."""
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with opened_hdf5(path) as file:
        return isinstance(file.get("kspace"), h5py.Dataset)


def read_fastmri(path: Path) -> KSpace:
    """Read the slices; the image is the part of the readout that the header asks for."""
    with opened_hdf5(path) as file:
        stored = file["kspace"][()]
        text = file["ismrmrd_header"][()] if "ismrmrd_header" in file else None
        subject = file.attrs.get("patient_id")
    if stored.dtype.kind != "c" or stored.ndim not in (3, 4):
        msg = (
            f"{path.name} holds {stored.dtype} {stored.shape} as kspace; expected complex, "
            "(slices, coils, readout, phase) or without coils."
        )
        raise MrgenError(msg)
    coils = stored if stored.ndim == 4 else stored[:, None]
    shape, spacing = coils.shape[-2:], (1.0, 1.0, 1.0)
    if text is not None:
        # Rows are along the readout, which is x of the header.
        header = read_ismrmrd_header(path, text)
        z, y, x = header.image.pixel
        spacing = (z, x, y)
        _, height, width = header.image.matrix
        shape = (min(shape[0], width), min(shape[1], height))
    return KSpace(
        samples=np.ascontiguousarray(coils[None], np.complex64),
        shape=shape,
        affine=upright_affine(spacing),
        name=path.stem,
        subject=str(subject) if subject else plain_subject(path),
        source=Source(
            str(path),
            "fastmri",
            spacing_known=text is not None,
            notes=(_NOTE,) if text is not None else (_NOTE, _NO_SIZE),
        ),
    )
