"""Use a trained model: read its inputs, generate, say on each result what made it, and save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from napari_mrgen import __version__, families
from napari_mrgen.app.inputs import check_roles, find_all
from napari_mrgen.engine.checkpoint import Model, load_model
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.device import choose
from napari_mrgen.engine.family import Family, GenerateConfig, Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.io.nifti import NOTICE
from napari_mrgen.volume import Volume

Source = Path | Reference | Volume


def generate(
    model_path: Path,
    inputs: Mapping[str, Source],
    config: GenerateConfig | None = None,
    *,
    device: str = "auto",
    control: Control | None = None,
) -> Iterator[Volume]:
    """Yield the results of a model one by one; see `Maker`."""
    yield from Maker.load(model_path, device).make(inputs, config, control)


@dataclass(frozen=True)
class Maker:
    """A model on its device, to be used once or for many scans."""

    path: Path
    """A run folder or a ``.safetensors`` file."""
    model: Model
    family: Family

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> Self:
        model, chosen = load_model(path, families.get), choose(device)
        for network in model.networks.values():
            network.to(chosen)
        return cls(path, model, families.get(model.family))

    def make(
        self,
        inputs: Mapping[str, Source],
        config: GenerateConfig | None = None,
        control: Control | None = None,
    ) -> Iterator[Volume]:
        """Yield results one by one, each with its provenance.

        Parameters
        ----------
        inputs
            A file, a scan that was found, or a Volume by role.
        config
            Of the model's family; its defaults if not given.
        control
            Looked at between two results.
        """
        control = control or Control()
        config = config or self.family.generate_config()
        volumes = read_inputs(self.family.generate_inputs, inputs)
        record = {
            **self.record(config),
            "source": _sources(volumes, inputs),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        generator = torch.Generator().manual_seed(config.seed)
        results = self.family.generate(
            self.model.networks, self.model.config, config, volumes, generator, self.model.info.data
        )
        while not control.is_stopped:
            if control.is_paused:
                control.wait(0.2)
                continue
            # The mode is the thread's own: kept on over a yield it would reach into the caller.
            with torch.inference_mode():
                result = next(results, None)
            if result is None:
                return
            yield replace(result, provenance={**record, **(result.provenance or {})})

    def record(self, config: GenerateConfig) -> dict[str, Any]:
        """Return what is true of all results of these settings, whatever they are made from."""
        return {
            "synthetic": True,
            "notice": NOTICE,
            "family": self.model.family,
            "model": {
                "name": self.path.stem,
                "path": str(self.path),
                "sha256": self.model.hash,
            },
            "seed": config.seed,
            "configuration": config.model_dump(mode="json"),
            "software": f"napari-mrgen {__version__}",
        }


def collect(results: Iterable[Volume]) -> Iterator[Volume]:
    """Join samples that come in blocks into one volume; other results pass as they come."""
    for (_, is_sample), group in groupby(results, lambda v: (v.name, "samples" in v.covariates)):
        if is_sample:
            yield _join(list(group))
        else:
            yield from group


def _join(blocks: Sequence[Volume]) -> Volume:
    tables = [block.covariates["samples"] for block in blocks]
    samples = {
        column: [value for table in tables for value in table[column]] for column in tables[0]
    }
    array = np.concatenate([block.array for block in blocks])
    return blocks[0].with_array(array, covariates={**blocks[0].covariates, "samples": samples})


def read_inputs(wanted: tuple[Input, ...], inputs: Mapping[str, Source]) -> dict[str, Volume]:
    """Read what is given as a path, and check that each volume has the axes that are wanted."""
    check_roles(wanted, inputs)
    volumes = {}
    for asked in wanted:
        source = inputs.get(asked.role)
        if source is None:
            continue
        volume = source if isinstance(source, Volume) else _read_one(asked, source)
        if volume.axes not in asked.axes:
            msg = (
                f"The input {asked.role!r} must have the axes {' or '.join(asked.axes)}, "
                f"got {volume.axes} of shape {volume.array.shape}."
            )
            raise MrgenError(msg)
        volumes[asked.role] = volume
    return volumes


def _read_one(asked: Input, source: Path | Reference) -> Volume:
    if isinstance(source, Reference):
        return source.read()
    scans = find_all((asked,), {asked.role: [source]})[asked.role]
    if len(scans) > 1:
        msg = (
            f"The input {asked.role!r} takes one scan, got {len(scans)} in {source}; name the file."
        )
        raise MrgenError(msg)
    return scans[0].read()


def _sources(volumes: Mapping[str, Volume], inputs: Mapping[str, Source]) -> dict[str, Any]:
    return {
        role: {
            "name": volume.name,
            "subject": volume.subject,
            "path": _path_of(inputs[role]),
        }
        for role, volume in volumes.items()
    }


def _path_of(source: Source) -> str | None:
    if isinstance(source, Volume):
        return None
    return str(source.path if isinstance(source, Reference) else source)
