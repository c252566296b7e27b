"""What a model file says of itself, read without torch.

A model is one safetensors file: weights, and a JSON header. Nothing in it is ever executed, so it
is safe to open from a stranger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from napari_mrgen.errors import MrgenError

FORMAT = 1
KEY = "napari_mrgen"
_LONGEST = 16 << 20
"""Bytes of the longest header: that of a model has a few thousand."""
LICENCE = "Made from the training data that its owner chose: their terms hold for this model too."


@dataclass(frozen=True)
class Header:
    """The JSON header of a model file."""

    family: str
    stage: str
    step: int
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    """What `Dataset.describe` returned; ``"shape"`` is what the networks were built for."""
    networks: tuple[str, ...]
    split: str = ""
    """Hash of the split by subject."""
    subjects: int = 0
    """How many subjects were trained on."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    licence: str = LICENCE
    format: int = FORMAT

    def to_metadata(self) -> dict[str, str]:
        return {KEY: json.dumps(asdict(self))}


def model_file(path: Path) -> Path:
    """Return the model file of a run folder, or the file itself."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        what = "has no model yet" if path.is_dir() else "is not there"
        msg = f"{path} {what}; expected a run folder or a .safetensors file."
        raise MrgenError(msg)
    return file


def read_header(path: Path) -> Header:
    """Read the header of a model file, or of the model of a run folder."""
    path = model_file(path)
    try:
        _check_length(path)
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {})[KEY]
        values = json.loads(text)
        values["networks"] = tuple(map(str, values["networks"]))
        known = {one.name for one in fields(Header)}
        # A later version may say more.
        header = Header(**{name: value for name, value in values.items() if name in known})
        texts = (header.family, header.stage, header.split, header.licence)
        objects = (header.config, header.data, header.metrics)
        numbers = (header.step, header.subjects, header.format)
        if not (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(one, dict) for one in objects)
            and all(isinstance(number, int) for number in numbers)
        ):
            msg = "its header has fields of another type"
            raise TypeError(msg)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        msg = f"{path.name} is not a model of napari-mrgen, or it is damaged ({first_line(error)})."
        raise MrgenError(msg) from None
    if header.format != FORMAT:
        msg = f"{path.name} was written by another version: format {header.format}, not {FORMAT}."
        raise MrgenError(msg)
    return header


def _check_length(path: Path) -> None:
    """Refuse a header so long that reading it would take minutes and gigabytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST:
        raise ValueError(f"its header claims {length:,} bytes")


def check_start(path: Path, family: str) -> None:
    """Refuse a model of another family: its networks mean something else."""
    other = read_header(path).family
    if other != family:
        msg = f"{path.name} is a model of {other}; expected one of {family} to start from."
        raise MrgenError(msg)


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
