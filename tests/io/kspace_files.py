"""Files of k-space as scanners and other programs write them, made of known images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

Array = np.ndarray

COUNTERS = np.dtype(
    [(name, "<u2") for name in (
        "kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase",
        "repetition", "set", "segment",
    )] + [("user", "<u2", (8,))]
)  # fmt: skip
HEAD = np.dtype(
    [
        ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"), ("available_channels", "<u2"), ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)), ("discard_pre", "<u2"), ("discard_post", "<u2"),
        ("center_sample", "<u2"), ("encoding_space_ref", "<u2"), ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"), ("position", "<f4", (3,)), ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)), ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)), ("idx", COUNTERS), ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)  # fmt: skip
FLOATS = h5py.vlen_dtype(np.float32)
RECORD = np.dtype([("head", HEAD), ("traj", FLOATS), ("data", FLOATS)])


class Readout(NamedTuple):
    """One readout: ``values`` ``(c, k)``, ``places`` ``(k, d)``, fields of its header."""

    values: Array
    head: dict[str, Any]
    counters: dict[str, int]
    places: Array | None = None


def transform(images: Array) -> Array:
    """The centred, orthonormal transform over the last two axes."""
    axes = (-2, -1)
    shifted = np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho")
    return np.fft.fftshift(shifted, axes).astype(np.complex64)


def coil_images(shape: tuple[int, ...], coils: int, seed: int = 0) -> Array:
    """Draw complex images ``(*shape[:-2], coils, *shape[-2:])``."""
    rng = np.random.default_rng(seed)
    sizes = (*shape[:-2], coils, *shape[-2:])
    return rng.standard_normal(sizes) + 1j * rng.standard_normal(sizes)


def header(
    encoded: tuple[int, int, int],
    image: tuple[int, int, int],
    pixel: tuple[float, float, float],
    trajectory: str = "cartesian",
    centre: int | None = None,
) -> str:
    """The XML of a scan whose pixels are as large on the encoded grid as in the image."""

    def space(name: str, matrix: tuple[int, int, int]) -> str:
        extent = [count * mm for count, mm in zip(matrix, pixel, strict=True)]
        sizes = "".join(f"<{a}>{n}</{a}>" for a, n in zip("zyx", matrix, strict=True))
        lengths = "".join(f"<{a}>{mm}</{a}>" for a, mm in zip("zyx", extent, strict=True))
        return (
            f"<{name}><matrixSize>{sizes}</matrixSize>"
            f"<fieldOfView_mm>{lengths}</fieldOfView_mm></{name}>"
        )

    limits = "" if centre is None else (
        "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>9</maximum>"
        f"<center>{centre}</center></kspace_encoding_step_1></encodingLimits>"
    )  # fmt: skip
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>'
        f"{space('encodedSpace', encoded)}{space('reconSpace', image)}{limits}"
        f"<trajectory>{trajectory}</trajectory></encoding></ismrmrdHeader>"
    )


def write_ismrmrd(path: Path, xml: str, readouts: Iterable[Readout]) -> Path:
    """Write a raw data file as the library of the format does."""
    readouts = list(readouts)
    records = np.zeros(len(readouts), RECORD)
    for record, readout in zip(records, readouts, strict=True):
        coils, count = readout.values.shape
        head = record["head"]
        head["number_of_samples"], head["active_channels"] = count, coils
        for name, value in readout.head.items():
            head[name] = value
        for name, value in readout.counters.items():
            head["idx"][name] = value
        record["data"] = np.ascontiguousarray(readout.values, np.complex64).view(np.float32).ravel()
        record["traj"] = np.zeros(0, np.float32)
        if readout.places is not None:
            head["trajectory_dimensions"] = readout.places.shape[1]
            record["traj"] = readout.places.astype(np.float32).ravel()
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[xml], dtype=h5py.string_dtype())
        group.create_dataset("data", data=records)
    return path


def write_bart(path: Path, array: Array) -> Path:
    """Write an array whose first axis is BART's first dimension."""
    sizes = " ".join(map(str, array.shape))
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{sizes} \n# Command\nfft\n")
    path.write_bytes(array.astype(np.complex64).tobytes(order="F"))
    return path
