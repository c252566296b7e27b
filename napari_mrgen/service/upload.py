"""What a client uploads: files and settings, saved into a folder within the limits of a service."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive

from napari_mrgen.app.generate import read_inputs
from napari_mrgen.engine.family import GenerateConfig, Input
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io import nifti
from napari_mrgen.service.wire import TravelFacts, safe_name, unpack
from napari_mrgen.volume import Volume
from napari_mrgen.wording import format_size

SETTINGS, FACTS = "settings", "facts"
"""Fields of the form that hold JSON; each other one is a file, named by its role."""
SUFFIXES = (".nii.gz", ".nii")
"""Of files that are taken: a name that says more could have a file read as what it is not."""
_MAX_FIELDS, _MAX_TEXT = 8, 8 << 20
_MAX_PAUSE_S = 30.0
_DRAIN_S, _DRAIN_BYTES = 2.0, 64 << 20


@dataclass(frozen=True)
class Limits:
    """The largest requests that a service accepts."""

    upload_bytes: int = 512 << 20
    """All files of a request together, as they are sent."""
    voxels: int = 1 << 28
    """One file, frames counted, after decompression."""
    made: int = 1 << 31
    """Voxels of all results of a request together."""

    def check_made(self, voxels: int) -> None:
        """Refuse to generate more than is allowed."""
        if voxels > self.made:
            msg = (
                f"This asks for {voxels:,} voxels or more; this service makes up to {self.made:,} "
                "for a request: ask for fewer samples or frames."
            )
            raise MrgenError(msg)


class LimitedReceive:
    """An ASGI ``receive`` that limits the size of a request's body, and its pauses."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._left = receive, limits.upload_bytes
        self._limit, self._is_complete = limits.upload_bytes, False

    async def __call__(self) -> Message:
        if self._is_complete:  # Only the end of the connection comes after the body.
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), _MAX_PAUSE_S)
        except TimeoutError:
            sentence = f"The upload paused for more than {_MAX_PAUSE_S:.0f} s; try again."
            raise HTTPException(408, sentence) from None
        self._is_complete = not message.get("more_body", False)
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._too_large()
        return message

    def check_length(self, content_length: str) -> None:
        """Refuse a body whose header already says that it is too large."""
        if content_length.isdigit() and int(content_length) > self._limit:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        sentence = (
            f"The upload is larger than {format_size(self._limit)}, the most that this service "
            "takes; compress it (.nii.gz), or crop it."
        )
        return HTTPException(413, sentence)

    async def drain(self) -> None:
        """Read on for a moment: a client that is still sending would not hear the answer."""
        self._left = _DRAIN_BYTES
        with suppress(TimeoutError, HTTPException):
            async with asyncio.timeout(_DRAIN_S):
                while not self._is_complete:
                    await self()


@dataclass(frozen=True)
class Upload:
    """Files by role, the facts of some of them, and settings; nothing of it was read yet."""

    files: Mapping[str, Path]
    facts: Mapping[str, TravelFacts]
    settings: Mapping[str, Any]

    def read(self, specs: Sequence[Input], limits: Limits) -> dict[str, Volume]:
        """Read the files; one that came with its facts is what it was at its client."""
        for role, path in self.files.items():
            count = math.prod(nifti.info(path).shape)
            if count > limits.voxels:
                msg = (
                    f"The input {role!r} has {count:,} voxels; this service takes up to "
                    f"{limits.voxels:,}: crop it, or raise the limit."
                )
                raise MrgenError(msg)
        volumes = {}
        for role, path in self.files.items():
            if role in self.facts:
                volumes[role] = unpack(path, self.facts[role])
            else:
                volume = nifti.read(path)
                # That it was a file here is of no use afterwards.
                source = None if volume.source is None else replace(volume.source, path="")
                volumes[role] = replace(volume, source=source)
        return read_inputs(tuple(specs), volumes)


async def save_upload(request: Request, folder: Path, specs: Sequence[Input]) -> Upload:
    """Save what is uploaded in ``folder``; refuse what is too much as soon as it is known."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        sentence = "Expected a form (multipart/form-data) with a NIfTI file for each input."
        raise HTTPException(415, sentence)
    limits = {"max_files": len(specs), "max_fields": _MAX_FIELDS, "max_part_size": _MAX_TEXT}
    try:
        async with request.form(**limits) as form:
            settings, facts = _json_field(form, SETTINGS), _json_field(form, FACTS)
            files = await _save(form, folder, [spec.role for spec in specs])
    except MultiPartException as error:
        raise HTTPException(400, f"The form cannot be read: {error.message}") from None
    return Upload(
        files, {role: TravelFacts.parse(json.dumps(one)) for role, one in facts.items()}, settings
    )


def least_voxels(config: GenerateConfig, inputs: Mapping[str, Volume]) -> int:
    """Return how many voxels the results will have at least, as far as the settings tell."""
    frame = min((math.prod(one.array.shape[-3:]) for one in inputs.values()), default=1)
    return config.results * config.frames_each * frame


async def _save(form: FormData, folder: Path, roles: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for role, value in form.multi_items():
        if role in (SETTINGS, FACTS):
            continue
        if role not in roles:
            raise unknown("input", role, [*roles, SETTINGS])
        if not isinstance(value, UploadFile):
            raise MrgenError(f"The input {role!r} must be a file, such as -F {role}=@scan.nii.gz.")
        if role in files:
            raise MrgenError(f"The input {role!r} takes one file.")
        name = safe_name(value.filename or "")
        if not name.lower().endswith(SUFFIXES):
            allowed = " or ".join(SUFFIXES)
            raise MrgenError(f"The input {role!r} must be a NIfTI file, {allowed}; got {name!r}.")
        files[role] = folder / role / name
        files[role].parent.mkdir()
        with files[role].open("wb") as file:
            await asyncio.to_thread(shutil.copyfileobj, value.file, file)
    return files


def _json_field(form: FormData, name: str) -> dict[str, Any]:
    text = form.get(name, "{}")
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MrgenError(f"The field {name!r} must hold a JSON object, such as {{}}.")
    return value
