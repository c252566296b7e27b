"""Use a trained model: read its inputs, generate, and say on each result what made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch

from napari_mrgen import __version__, families
from napari_mrgen.app.making import Makes, Source, collect, read_inputs, sources_of
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.device import choose
from napari_mrgen.engine.family import Family, GenerateConfig
from napari_mrgen.engine.run.model import Model, load_model
from napari_mrgen.io.nifti import NOTICE
from napari_mrgen.volume import Volume

__all__ = ["Maker", "Makes", "collect", "generate"]


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
            "source": sources_of(volumes, inputs),
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
