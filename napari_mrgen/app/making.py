"""What goes into the making of results and what comes out of it, wherever they are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_mrgen.app.inputs import check_roles, find_all
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, GenerateConfig, Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

Source = Path | Reference | Volume


class Makes(Protocol):
    """What makes results with a model: a `predict.Maker` here, or a service elsewhere."""

    @property
    def family(self) -> Family:
        """The kind of model."""

    def make(
        self,
        inputs: Mapping[str, Source],
        config: GenerateConfig | None = None,
        control: Control | None = None,
    ) -> Iterator[Volume]:
        """Yield results one by one, each with its provenance; see `predict.Maker.make`."""

    def record(self, config: GenerateConfig) -> dict[str, Any]:
        """Return what is true of all results of these settings."""


def collect(results: Iterable[Volume]) -> Iterator[Volume]:
    """Join samples that come in blocks into one volume; other results pass as they come."""
    for (_, is_sample), group in groupby(results, lambda v: (v.name, v.samples is not None)):
        if is_sample:
            yield _join(list(group))
        else:
            yield from group


def _join(blocks: Sequence[Volume]) -> Volume:
    tables = [block.samples or {} for block in blocks]
    samples = {
        column: [value for table in tables for value in table[column]] for column in tables[0]
    }
    array = np.concatenate([block.array for block in blocks])
    return blocks[0].with_array(array, samples=samples)


def read_inputs(wanted: tuple[Input, ...], inputs: Mapping[str, Source]) -> dict[str, Volume]:
    """Read what is given as a path, and check that each volume has the axes that are wanted."""
    check_roles(wanted, inputs)
    volumes = {}
    for asked in wanted:
        source = inputs.get(asked.role)
        if source is None:
            continue
        volume = source if isinstance(source, Volume) else _read_one(asked, source)
        # What a family reads again by itself, it checks by itself.
        if volume.axes not in asked.axes and not asked.from_file:
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
            f"The input {asked.role!r} takes one scan, got {len(scans)} in {source}; name the "
            "file, or a folder for the results of all."
        )
        raise MrgenError(msg)
    return scans[0].read()


def sources_of(volumes: Mapping[str, Volume], inputs: Mapping[str, Source]) -> dict[str, Any]:
    """Return what a result was made from, by role: names, and the files that are known."""
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
