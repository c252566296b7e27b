"""Reconstruction of a simulated scan, of undersampled images or of k-space; export of networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mrgen.data.realtime import VIEW_SHARED
from napari_mrgen.data.scaling import Scaling, as_type
from napari_mrgen.data.undersampled import (
    NetworkInputs,
    ScanSpec,
    inputs_of_magnitude,
    inputs_of_samples,
    radial_slices,
    simulated_inputs,
)
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.engine.task import Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import (
    ReconstructionConfig,
    ReconstructionGenerateConfig,
)
from napari_mrgen.families.reconstruction.networks import Unrolled, input_channels
from napari_mrgen.families.reconstruction.tasks import reconstruct_slice
from napari_mrgen.families.reconstruction.training import scan_spec
from napari_mrgen.io.raw_data.kspace import is_kspace, read_kspace
from napari_mrgen.volume import Volume

INPUT = {"part": "input"}
"""Provenance of a series that was the network's input."""
SIMULATED_INPUT = {**INPUT, "source_is": "truth"}
"""Provenance of an input that was simulated from the true series."""
_EXPORT_SIZES = ((2, 5, 37, 27), (1, 3, 32, 48), (1, 8, 50, 19))
"""Sizes ``b, t, y, x`` at which an exported network is checked."""


def reconstruct_input(
    networks: Networks,
    trained: ReconstructionConfig,
    config: ReconstructionGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield the reconstructed series, and with ``include_inputs`` what it was made from."""
    del data  # The scale is that of each slice.
    network = networks["reconstructor"]
    role = choose_role(network, inputs)
    volume = inputs[role]
    if role == "kspace":
        yield from _reconstruct_kspace(network, trained, config, volume)
        return
    scaling = Scaling.fit(volume.array)
    frames = torch.from_numpy(scaling.apply(volume.array))
    spec = _simulated_scan(trained, config)
    slices: Iterator[NetworkInputs]
    if role == "cine":
        slices = (simulated_inputs(one.contiguous(), spec, generator) for one in frames.unbind(1))
    else:
        shared = spec.view_sharing
        slices = (inputs_of_magnitude(one, view_sharing=shared) for one in frames.unbind(1))
    provenance = SIMULATED_INPUT if role == "cine" else INPUT
    yield from _reconstruct(network, slices, config, volume, scaling, provenance)


def choose_role(network: nn.Module, inputs: Mapping[str, Volume]) -> str:
    """Return the one role that has a series; refuse images for a network that needs samples."""
    if len(inputs) != 1:
        got = " and ".join(inputs) or "none"
        raise MrgenError(f"Expected one series to reconstruct, got {got}; give one.")
    (role,) = inputs
    if role == "undersampled" and isinstance(network, Unrolled):
        msg = (
            "This model needs measured data for its data consistency, and an image has none; train "
            "one of the U-Nets for such images, or apply this model to a cine or to k-space."
        )
        raise MrgenError(msg)
    return role


def _simulated_scan(
    trained: ReconstructionConfig, config: ReconstructionGenerateConfig
) -> ScanSpec:
    """Return how the scan of a cine is simulated: as in training, unless set otherwise."""
    spec = scan_spec(trained)
    spokes = spec.protocol.spokes if config.spokes is None else config.spokes
    noise = spec.noise if config.noise is None else config.noise
    return replace(spec, protocol=replace(spec.protocol, spokes=spokes), noise=noise)


def _reconstruct_kspace(
    network: nn.Module,
    trained: ReconstructionConfig,
    config: ReconstructionGenerateConfig,
    image: Volume,
) -> Iterator[Volume]:
    """Reconstruct the samples of the k-space file from which an image was read."""
    path = Path(image.source.path if image.source else "")
    if not is_kspace(path):
        msg = f"{image.name or 'This image'} has no file of k-space; name the file itself."
        raise MrgenError(msg)
    spec = scan_spec(trained)
    device = device_of(network)
    slices = (
        inputs_of_samples(
            one.to(device), view_sharing=spec.view_sharing, with_operator=spec.with_operator
        )
        for one in radial_slices(read_kspace(path))
    )
    float_image = image.with_array(image.array.astype(np.float32), times=image.times)
    yield from _reconstruct(network, slices, config, float_image, Scaling(0.0, 1.0), INPUT)


def _reconstruct(
    network: nn.Module,
    slices: Iterable[NetworkInputs],
    config: ReconstructionGenerateConfig,
    source: Volume,
    scaling: Scaling,
    provenance: Mapping[str, str],
) -> Iterator[Volume]:
    """Yield the reconstruction of all slices and, if set, the gridded series."""

    def volume(series: list[Tensor], title: str) -> Volume:
        """Return slices ``(t, y, x)`` with the geometry, times and intensities of the source."""
        array = scaling.invert(np.stack([one.numpy() for one in series], 1))
        name = f"{source.name or 'series'} {title}"
        return source.with_array(as_type(array, source.array.dtype), name=name, times=source.times)

    reconstructed, gridded = [], []
    for inputs in slices:
        reconstructed.append(reconstruct_slice(network, inputs))
        gridded.append(inputs.channels.cpu().clamp(min=0) * inputs.scale)
    yield volume(reconstructed, "reconstructed")
    if config.include_inputs:
        zero_filled = volume([one[0] for one in gridded], "zero-filled")
        yield replace(zero_filled, provenance=dict(provenance))
        if len(gridded[0]) > VIEW_SHARED:
            yield volume([one[VIEW_SHARED] for one in gridded], "view-shared")


# ---- export -------------------------------------------------------------------------------------


def why_no_export(trained: ReconstructionConfig) -> str:
    """Say why the network of such a training cannot be exported; nothing where it can."""
    if trained.network != "unrolled":
        return ""
    return (
        "The network 'unrolled' computes with complex numbers, which ONNX does not: serve the "
        "model instead, or train one of the U-Nets."
    )


def reconstructor_exports(
    networks: Mapping[str, nn.Module], trained: ReconstructionConfig
) -> Iterator[Exportable]:
    """Yield the network, for series of any size.

    Raises
    ------
    MrgenError
        If the network is the unrolled one, which computes with complex samples.
    """
    if reason := why_no_export(trained):
        raise MrgenError(reason)
    yield Exportable(
        name="reconstructor",
        module=networks["reconstructor"],
        inputs=(Port("inputs", ("b", input_channels(trained), "t", "y", "x")),),
        output="series",
        sizes=tuple(dict(zip("btyx", sizes, strict=True)) for sizes in _EXPORT_SIZES),
        help="From an undersampled series, scaled as in training, to one without artefacts.",
    )
