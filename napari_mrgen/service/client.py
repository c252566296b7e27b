"""The client: a service as the device that generates, with the same results as here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from napari_mrgen import families
from napari_mrgen.app.generate import Source, VolumeGenerator, read_inputs, sources_of
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, GenerateConfig
from napari_mrgen.engine.run.model_header import hash_file, model_file
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.nifti import NOTICE
from napari_mrgen.service import bundle
from napari_mrgen.service.address import Address, is_address
from napari_mrgen.service.asking import ask, stream
from napari_mrgen.service.wire import Facts, pack, to_json
from napari_mrgen.volume import Volume
from napari_mrgen.wording import format_size


def generator_for(model: Path | None, device: str = "auto") -> VolumeGenerator:
    """Return what makes results with a model: here, or at a service where the device is one.

    Without a model of one's own it is the one that the service has.
    """
    if is_address(device):
        return ServiceGenerator.reach(device, model)
    if model is None:
        raise MrgenError("There is no model to use; name a run folder or a .safetensors file.")
    from napari_mrgen.app.generate import LocalGenerator  # here, for a service needs no torch

    return LocalGenerator.load(model, device)


_HERE = ("model", "service")
"""What of a record the service cannot know: where things are on this machine."""


@dataclass(frozen=True)
class ServiceGenerator:
    """A service in the place of a `LocalGenerator`."""

    address: Address
    info: Mapping[str, Any]
    """What the service says of itself."""
    family: Family
    path: Path | None
    """The same model on this machine, if it is there."""

    @classmethod
    def reach(cls, text: str, path: Path | None = None) -> Self:
        """Ask a service what it has; refuse one that has another model than ``path``."""
        address = Address.parse(text)
        info = ask(f"{address.url}/info", address.headers)
        try:
            family = families.get(str(info["family"]))
            served = dict(info["model"])
            known = served["sha256"], served["name"], info["limits"]["upload_bytes"]
        except (KeyError, TypeError, ValueError):
            raise MrgenError(f"{address.url} is no service of napari-mrgen.") from None
        if path is not None and hash_file(model_file(path)) != known[0]:
            msg = (
                f"The service at {address.url} has another model, {known[1]!r}; choose that one, "
                f"or serve this one there: napari-mrgen serve {path.name}"
            )
            raise MrgenError(msg)
        return cls(address, info, family, path)

    def generate(
        self,
        inputs: Mapping[str, Source],
        config: GenerateConfig | None = None,
        control: Control | None = None,
    ) -> Iterator[Volume]:
        """Yield what the service makes, result by result; see `LocalGenerator.make`."""
        _check_roles(self.family, inputs)
        config = config or self.family.generate_config()
        control = control or Control()
        volumes = read_inputs(self.family.generate_inputs, inputs)
        known = self.record(config)
        here = {**{key: known[key] for key in _HERE}, "source": sources_of(volumes, inputs)}
        with tempfile.TemporaryDirectory(prefix="napari-mrgen-") as folder:
            files, facts = _packed(volumes, Path(folder))
            self._check_size(files)
            fields = {"settings": config.model_dump_json(), "facts": json.dumps(facts)}
            url = f"{self.address.url}/generate"
            with stream(url, self.address.headers, fields, files, control) as answer:
                try:
                    for volume, told in bundle.read(answer):
                        yield _at_home(volume, told, volumes, here)
                except MrgenError:
                    # Given up here, it is cut short.
                    if not control.is_stopped:
                        raise

    def record(self, config: GenerateConfig) -> dict[str, Any]:
        """Return what is true of all results of these settings, as `LocalGenerator.record` does."""
        served = self.info["model"]
        path = self.path
        return {
            "synthetic": True,
            "notice": NOTICE,
            "family": self.family.name,
            "model": {
                "name": served["name"] if path is None else path.stem,
                "path": self.address.url if path is None else str(path),
                "sha256": served["sha256"],
            },
            "seed": config.seed,
            "configuration": config.model_dump(mode="json"),
            "software": self.info.get("software", ""),
            "service": self.address.url,
        }

    def _check_size(self, files: Mapping[str, Path]) -> None:
        most = int(self.info["limits"]["upload_bytes"])
        size = sum(path.stat().st_size for path in files.values())
        if size > most:
            msg = (
                f"The input has {format_size(size)}, the service at {self.address.url} takes "
                f"up to {format_size(most)}: crop it, or start the service with --max-upload."
            )
            raise MrgenError(msg)


def _check_roles(family: Family, inputs: Mapping[str, Source]) -> None:
    """Refuse what stays on its machine, before it is read."""
    for one in family.generate_inputs:
        if one.from_file and one.role in inputs:
            msg = (
                f"A service takes images, no {one.title}: generate on the machine where the file "
                "is, with one of its own devices."
            )
            raise MrgenError(msg)


def _packed(volumes: Mapping[str, Volume], folder: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """Write the inputs as NIfTI; return the files and their facts."""
    files, facts = {}, {}
    for role, volume in volumes.items():
        files[role] = folder / f"{role}.nii.gz"
        _, told = pack(volume, files[role])
        facts[role] = json.loads(to_json(told))
    return files, facts


def _at_home(
    volume: Volume, facts: Facts, inputs: Mapping[str, Volume], here: Mapping[str, Any]
) -> Volume:
    """Give a result the header of its source back, and say what it was made from here."""
    source = volume.source
    if facts.source_of is not None and facts.source_of in inputs:
        source = inputs[facts.source_of].source
    elif facts.storage.is_plain:
        source = None
    return replace(volume, source=source, provenance={**(volume.provenance or {}), **here})
