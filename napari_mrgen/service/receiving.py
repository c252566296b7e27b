"""What comes with a request: files and settings, into a folder, and never more than is allowed."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from napari_mrgen.app.generate import read_inputs
from napari_mrgen.engine.family import GenerateConfig, Input
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io import nifti
from napari_mrgen.service.turns import Refusal
from napari_mrgen.service.wire import Facts, safe_name, unpack
from napari_mrgen.volume import Source, Volume
from napari_mrgen.wording import format_size

SETTINGS, FACTS = "settings", "facts"
"""Fields of the form that hold JSON; each other one is a file, named by its role."""
SUFFIXES = (".nii.gz", ".nii")
"""Of files that are taken: a name that says more could have a file read as what it is not."""
_FIELDS, _MOST_TEXT = 8, 8 << 20
_SILENCE_S = 30.0
"""So long an upload may pause."""
_DRAIN_S, _DRAIN = 2.0, 64 << 20
"""Of an upload that is refused, so much is still read: a client that is sending hears no answer."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


@dataclass(frozen=True)
class Limits:
    """What a request may be."""

    upload_bytes: int = 512 << 20
    """Of all files of a request together, as they are sent."""
    voxels: int = 1 << 28
    """Of one file, frames counted, after decompression."""
    made: int = 1 << 31
    """Voxels of all results of a request together."""

    def check_made(self, voxels: int) -> None:
        """Refuse to make more than is allowed."""
        if voxels > self.made:
            msg = (
                f"This asks for {voxels:,} voxels or more; this service makes up to {self.made:,} "
                "for a request: ask for fewer samples or frames."
            )
            raise MrgenError(msg)


@dataclass(frozen=True)
class Upload:
    """Files by role, the facts of some of them, and settings, nothing of it looked into yet."""

    files: Mapping[str, Path]
    facts: Mapping[str, Facts]
    settings: Mapping[str, Any]


async def receive(
    request: Request, folder: Path, wanted: Sequence[Input], limits: Limits
) -> Upload:
    """Save what is uploaded in ``folder``; refuse what is too much as soon as it is."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        sentence = "Expected a form (multipart/form-data) with a NIfTI file for each input."
        raise Refusal(415, sentence)
    counted = Request(request.scope, _Counted(request.receive, request.headers, limits))
    form = counted.form(max_files=len(wanted), max_fields=_FIELDS, max_part_size=_MOST_TEXT)
    try:
        async with form as found:
            settings = _json_field(found, SETTINGS)
            told = _json_field(found, FACTS)
            files = await _save(found, folder, [one.role for one in wanted])
    except HTTPException as error:
        raise Refusal(400, f"The form cannot be read: {error.detail}") from None
    facts = {role: Facts.parse(json.dumps(value)) for role, value in told.items()}
    return Upload(files, facts, settings)


class Incoming:
    """An ASGI ``receive`` that knows whether all has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._is_whole = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read on for a moment: who is still sending would meet a closed door, not the answer."""
        count = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while count < _DRAIN and not self._is_whole:
                    count += len((await self()).get("body", b""))


def volumes_of(upload: Upload, wanted: Sequence[Input], limits: Limits) -> dict[str, Volume]:
    """Read the files; one whose facts came with it is again what it was where it came from."""
    for role, path in upload.files.items():
        count = math.prod(nifti.info(path).shape)
        if count > limits.voxels:
            msg = (
                f"The input {role!r} has {count:,} voxels; this service takes up to "
                f"{limits.voxels:,}: crop it, or raise the limit."
            )
            raise MrgenError(msg)
    sources = {
        role: unpack(path, upload.facts[role]) if role in upload.facts else _read(path)
        for role, path in upload.files.items()
    }
    return read_inputs(tuple(wanted), sources)


def least_voxels(config: GenerateConfig, inputs: Mapping[str, Volume]) -> int:
    """Return how many voxels the results will have at least, as far as settings tell."""
    frame = min((math.prod(one.array.shape[-3:]) for one in inputs.values()), default=1)
    return config.results * int(getattr(config, "frames", 1)) * frame


def _read(path: Path) -> Volume:
    """Read a file; that it was one here is nobody's business afterwards."""
    volume = nifti.read(path)
    return replace(volume, source=replace(volume.source or Source(), path=""))


class _Counted:
    """An ASGI ``receive`` that counts what comes, and gives up on what comes too slowly."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], limits: Limits) -> None:
        self._receive, self._left = receive, limits.upload_bytes
        self._refusal = Refusal(
            413,
            f"The upload is larger than {format_size(limits.upload_bytes)}, the most that this "
            "service takes; compress it (.nii.gz), or crop it.",
        )
        promised = headers.get("content-length", "")
        if promised.isdigit() and int(promised) > self._left:
            raise self._refusal

    async def __call__(self) -> Message:
        try:
            message = await asyncio.wait_for(self._receive(), _SILENCE_S)
        except TimeoutError:
            sentence = f"The upload paused for more than {_SILENCE_S:.0f} s; try again."
            raise Refusal(408, sentence) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._refusal
        return message


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
            shown = " or ".join(SUFFIXES)
            raise MrgenError(f"The input {role!r} must be a NIfTI file, {shown}; got {name!r}.")
        files[role] = folder / role / name
        await asyncio.to_thread(_copy, value, files[role])
    return files


def _copy(value: UploadFile, path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        shutil.copyfileobj(value.file, file)


def _json_field(form: FormData, name: str) -> dict[str, Any]:
    text = form.get(name, "{}")
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MrgenError(f"The field {name!r} must hold a JSON object, such as {{}}.")
    return value
