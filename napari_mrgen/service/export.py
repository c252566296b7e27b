"""Export to ONNX: each network of a model as a file of its own, held against PyTorch as it is made.

Sizes stay free. An exporter can take one for fixed without saying so, for instance where a network
pads only what needs it; so every file is run at several sizes before it gets its name.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from napari_mrgen import __version__, families
from napari_mrgen.app.outputs import check_free
from napari_mrgen.engine.exportable import Exportable, Sizes
from napari_mrgen.engine.family import Exports
from napari_mrgen.engine.run.model import Model, load_model
from napari_mrgen.engine.run.model_header import first_line, model_file
from napari_mrgen.errors import MrgenError, need
from napari_mrgen.io.facts import NOTICE
from napari_mrgen.io.files import drafted
from napari_mrgen.volume import Array

TOLERANCE = 1e-4
"""Largest difference from PyTorch of a number that comes out."""
TIES = 0.01
"""Largest share of codes that may be another one."""
SUFFIX = ".onnx"


@dataclass(frozen=True)
class Exported:
    """A network in a file, and how far it is from the one that was trained."""

    name: str
    path: Path
    help: str
    inputs: Mapping[str, tuple[int | str, ...]]
    output: str
    difference: float
    """Largest over all values that come out, at all sizes; of codes the share that differs."""
    sizes: tuple[Sizes, ...]
    """At which that was found."""


def export(
    model_path: Path, out: Path | None = None, *, overwrite: bool = False
) -> Iterator[Exported]:
    """Yield what becomes of each network of a model.

    Parameters
    ----------
    out
        A file, whose name gets that of the network where there are several; beside the model if not
        given.

    Raises
    ------
    MrgenError
        If the family has no network that stands alone, or a file does not do what its network does.
    """
    need("onnxscript", "export", "The export to ONNX")
    need("onnxruntime", "export", "The export to ONNX")
    model = load_model(model_path, families.get)
    family = families.get(model.family)
    if not isinstance(family, Exports):
        raise MrgenError(f"No network of the family {model.family!r} can be exported to ONNX.")
    chosen = list(family.exports(model.networks, model.config))
    paths = paths_for(chosen, out or model_file(model_path).with_suffix(SUFFIX))
    for path in paths:
        check_free(path, overwrite=overwrite)
    for network, path in zip(chosen, paths, strict=True):
        yield _export(network, path, model)


def export_model(model_path: Path, out: Path) -> Iterator[Exported]:
    """Export the model of a job, whatever lies there."""
    return export(model_path, out, overwrite=True)


def paths_for(networks: Sequence[Exportable], out: Path) -> list[Path]:
    """Return the file of each network: ``model.onnx``, or ``model-encoder.onnx`` of several."""
    if out.suffix.lower() != SUFFIX:
        msg = f"Cannot export to {out.name!r}: the name must end in {SUFFIX}."
        raise MrgenError(msg)
    if len(networks) == 1:
        return [out]
    return [out.with_name(f"{out.stem}-{network.name}{SUFFIX}") for network in networks]


def _export(network: Exportable, path: Path, model: Model) -> Exported:
    _check_real(network)
    with drafted(path) as draft:
        _write(network, draft, model)
        difference = max(_difference(network, draft, sizes) for sizes in network.sizes)
    return Exported(
        name=network.name,
        path=path,
        help=network.help,
        inputs={port.name: port.shape for port in network.inputs},
        output=network.output,
        difference=difference,
        sizes=network.sizes,
    )


def _check_real(network: Exportable) -> None:
    """Refuse a network with complex weights, for which ONNX has no operations."""
    if any(tensor.is_complex() for tensor in network.module.state_dict().values()):
        msg = f"The network {network.name!r} computes with complex numbers, which ONNX does not."
        raise MrgenError(msg)


def _write(network: Exportable, path: Path, model: Model) -> None:
    """Trace the network at its first sizes, and write it with what a reader should know of it."""
    module = network.module.cpu().eval()
    free = tuple(
        {
            place: torch.export.Dim.DYNAMIC
            for place, size in enumerate(port.shape)
            if isinstance(size, str)
        }
        for port in network.inputs
    )
    example = network.example(network.sizes[0])
    try:
        with _quiet(), torch.no_grad():
            exported = torch.onnx.export(
                module,
                example,
                input_names=[port.name for port in network.inputs],
                output_names=[network.output],
                dynamic_shapes=free,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # The exporter has many kinds; all say the same here.
        msg = f"The network {network.name!r} cannot be exported to ONNX: {_reason(error)}"
        raise MrgenError(msg) from error
    program = cast("torch.onnx.ONNXProgram", exported)
    program.model.metadata_props.update(_facts(network, model))
    program.save(path, include_initializers=True, external_data=False)


def _reason(error: BaseException) -> str:
    """Return what was wrong in the first place; what the exporter makes of it is many pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _facts(network: Exportable, model: Model) -> dict[str, str]:
    facts: dict[str, Any] = {
        "software": f"napari-mrgen {__version__}",
        "family": model.family,
        "network": network.name,
        "help": network.help,
        "model sha256": model.hash,
        "configuration": model.config.model_dump(mode="json"),
        "data": dict(model.info.data),
        "notice": NOTICE,
        "licence": model.info.licence,
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in facts.items()
    }


def _difference(network: Exportable, path: Path, sizes: Sizes) -> float:
    """Return how far what onnxruntime makes is from what PyTorch makes; refuse too much of it."""
    example = network.example(sizes, seed=1)
    with torch.no_grad():
        wanted = network.module(*example).numpy()
    found = run(path, {p.name: t.numpy() for p, t in zip(network.inputs, example, strict=True)})
    shown = ", ".join(f"{letter} {size}" for letter, size in sizes.items())
    if found is None or found.shape != wanted.shape:
        msg = f"The exported network {network.name!r} fails at {shown}; it was not kept."
        raise MrgenError(msg)
    difference, most = _apart(found, wanted)
    if not difference <= most:
        msg = (
            f"The exported network {network.name!r} differs from the trained one by "
            f"{difference:.2g} at {shown}, more than {most:g}; it was not kept."
        )
        raise MrgenError(msg)
    return difference


def _apart(found: Array, wanted: Array) -> tuple[float, float]:
    """Return the largest difference, or of numbers of codes the share that differs; and the most.

    A vector that lies between two codes may go to either.
    """
    if wanted.dtype.kind != "f":
        return float((found != wanted).mean()), TIES
    return float(np.abs(found - wanted).max(initial=0.0)), TOLERANCE


def run(path: Path, inputs: Mapping[str, Array]) -> Array | None:
    """Run a file on the processor; None where it cannot, or not with inputs of these sizes."""
    runtime = need("onnxruntime", "export", "The export to ONNX")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # What fails is said in one sentence by who asked.
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, dict(inputs))
    except Exception:  # noqa: BLE001 - the runtime has a class for each of its codes
        return None
    return np.asarray(found)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says to its own developers."""
    names = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
