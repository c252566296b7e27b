"""The run folder: everything that a run knows is in it, and any process may look.

No torch here: a window opens a run folder before torch is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.journal import read_events
from napari_mrgen.engine.run.lock import living_trainer
from napari_mrgen.engine.run.model_header import first_line
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.files import replacing
from napari_mrgen.io.find import Reference, files_in
from napari_mrgen.io.naming import set_of
from napari_mrgen.volume import Participant, Volume

Status = Literal["running", "stopped", "failed", "finished", "interrupted"]
Lookup = Callable[[str], Family]

_FORMAT = 1
_SAMPLED_BYTES = 1 << 16
_POLL = 0.2
_EVENTS = "events.jsonl"
ENVIRONMENT = "environment.json"
ENDS = (events.Stopped, events.Failed, events.Finished)
"""Kinds of the last event of a run."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that are not in its Config."""

    family: str
    precision: str
    only_stage: str | None = None
    start_from: str | None = None
    format: int = _FORMAT


@dataclass(frozen=True)
class Run:
    """A run folder, read when an attribute is read."""

    path: Path

    @property
    def options(self) -> RunOptions:
        values = self._read("run.json")
        if values.get("format") != _FORMAT:
            msg = (
                f"{self.path.name} was written by another version (format {values.get('format')})."
            )
            raise MrgenError(msg)
        with self._parsing("run.json"):
            return RunOptions(**values)

    @property
    def inputs(self) -> Inputs:
        values = self.read_inputs()
        with self._parsing("inputs.json"):
            references = {
                role: tuple(_parse_reference(self.path, entry) for entry in entries)
                for role, entries in values["references"].items()
            }
            return Inputs(references, Split.parse(values["split"]))

    def config(self, family: Family) -> TrainConfig:
        try:
            text = (self.path / "config.yaml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            msg = f"{self.path} is not a run folder: it has no readable config.yaml."
            raise MrgenError(msg) from None
        config: TrainConfig = family.train_config.from_yaml(text)
        return config

    @property
    def history(self) -> list[Event]:
        return read_events(self.path / _EVENTS)[0]

    @property
    def status(self) -> Status:
        history = self.history
        match history[-1:]:
            case [events.Finished()]:
                return "finished"
            case [events.Stopped()]:
                return "stopped"
            case [events.Failed()]:
                return "failed"
        return "running" if living_trainer(self.path) else "interrupted"

    def read_inputs(self) -> dict[str, Any]:
        """Return the scans and the split as they are written."""
        return self._read("inputs.json")

    def changed_inputs(self) -> tuple[str, ...]:
        """Name the input files that are not what they were when the run started."""
        with self._parsing("inputs.json"):
            entries = [e for role in self.read_inputs()["references"].values() for e in role]
        return tuple(
            Path(entry["path"]).name
            for entry in entries
            if fingerprint(self.path / entry["path"]) != entry["fingerprint"]
        )

    def subjects_by_content(self) -> dict[str, str]:
        """Return the subjects of the run's scans by the fingerprints of their files."""
        with self._parsing("inputs.json"):
            entries = [e for role in self.read_inputs()["references"].values() for e in role]
        # The series of one file share its fingerprint.
        counts = Counter(entry["fingerprint"] for entry in entries)
        return {e["fingerprint"]: e["subject"] for e in entries if counts[e["fingerprint"]] == 1}

    @contextmanager
    def _parsing(self, name: str) -> Iterator[None]:
        """Say so where a file of the folder is JSON, but not what this program wrote."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"{name} of {self.path} is damaged ({first_line(error)}); restore it."
            raise MrgenError(msg) from None

    def _read(self, name: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise TypeError(name)
        except (OSError, ValueError, TypeError, RecursionError):
            msg = f"{self.path} is not a run folder: it has no readable {name}."
            raise MrgenError(msg) from None
        return values


def create(run_dir: Path, options: RunOptions, config: TrainConfig, inputs: Inputs) -> None:
    """Write what a run starts from; the folder may hold saved layers, but is not `is_taken`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in (_EVENTS, ENVIRONMENT):  # Of a run that failed while it was made ready.
        (run_dir / name).unlink(missing_ok=True)
    references = {
        role: [_write_reference(run_dir, reference) for reference in scans]
        for role, scans in inputs.references.items()
    }
    write_json(run_dir / "inputs.json", {"references": references, "split": asdict(inputs.split)})
    save_settings(run_dir, options, config)
    make_folders(run_dir)


def make_folders(run_dir: Path) -> None:
    """Make the folders that are empty at first, which some ways of copying leave out."""
    for name in ("checkpoints", "previews"):
        (run_dir / name).mkdir(exist_ok=True)


def relocate(run_dir: Path, roots: Iterable[Path]) -> int:
    """Find the scans of a run that are not where they were below other folders; return how many.

    Each must have the content that it had when the run started. Nothing changes where one is not
    found.

    Raises
    ------
    MrgenError
        Names the scans that are not found.
    """
    values = Run(run_dir).read_inputs()
    by_name: dict[str, list[Path]] = defaultdict(list)
    for root in map(Path, roots):
        if not root.exists():
            raise MrgenError(f"There is no {root}; check the path.")
        for file in files_in(root, all_folders=True) if root.is_dir() else [root]:
            by_name[file.name].append(file)
    missing, moved = [], 0
    for entry in (entry for role in values["references"].values() for entry in role):
        old = run_dir / entry["path"]
        if fingerprint(old) == entry["fingerprint"]:
            continue
        is_series = old.name.isdecimal() and old.parent.suffix != ""
        file = old.parent if is_series else old
        found = [f for f in by_name[file.name] if fingerprint(f) == entry["fingerprint"]]
        if not found:
            missing.append(file.name)
            continue
        new = max(found, key=lambda one: _common_end(one, file)).absolute()
        moved += 1
        _move(entry, run_dir, file, new)
        entry["path"] = str(new / old.name if is_series else new)
    if missing:
        shown = ", ".join(sorted(set(missing))[:3]) + (" and others" if len(missing) > 3 else "")
        msg = (
            f"{len(missing)} scans of this run are not there with the content that they had: "
            f"{shown}. Give the folder that they are in now."
        )
        raise MrgenError(msg)
    if moved:
        write_json(run_dir / "inputs.json", values)
    return moved


def _move(entry: dict[str, Any], run_dir: Path, file: Path, new: Path) -> None:
    """Let label maps and slices go with their scan, whose folders are the same from some on."""
    depth = _common_end(new, file)
    old_base, new_base = file.parents[depth - 1], new.parents[depth - 1]
    for name in ("labels", "slices"):
        entry[name] = [
            str(new_base / (run_dir / path).relative_to(old_base))
            if (run_dir / path).is_relative_to(old_base)
            else path
            for path in entry.get(name, ())
        ]


def _common_end(one: Path, other: Path) -> int:
    """Return how many parts of two paths are the same, from the last one on."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def save_settings(run_dir: Path, options: RunOptions, config: TrainConfig) -> None:
    """Write how a run goes on from here."""
    with replacing(run_dir / "config.yaml") as file:
        file.write(config.to_yaml().encode())
    write_json(run_dir / "run.json", asdict(options))


def holds_run(run_dir: Path) -> bool:
    """Whether a folder holds a run, which may have lost the record of its events."""
    return (run_dir / _EVENTS).exists() or (
        (run_dir / "run.json").exists() and _holds_weights(run_dir)
    )


def _holds_weights(run_dir: Path) -> bool:
    files = (*run_dir.glob("checkpoints/*.pt"), *run_dir.glob("model*.safetensors"))
    return next(iter(files), None) is not None


def is_taken(run_dir: Path) -> bool:
    """Whether a folder holds a run that did more than fail, or stop, while it was made ready.

    Such a one has nothing to lose: with the mistake mended the same folder can be named again.
    """
    if _holds_weights(run_dir):
        return True
    if not holds_run(run_dir):
        return False
    history = Run(run_dir).history
    has_begun = any(isinstance(event, events.StageStarted) for event in history)
    return has_begun or not history or not isinstance(history[-1], events.Failed | events.Stopped)


def watch(run_dir: Path, follow: bool = True) -> Iterator[Event]:
    """Yield the events of a run that any process trains, from its folder.

    With ``follow``, go on until the run has ended; if its process died, the last event is a
    `Failed` that says so.
    """
    path, offset = run_dir / _EVENTS, 0
    last: Event | None = None
    while True:
        # The trainer is looked for first: what it wrote before it went is then in the file.
        is_alive = living_trainer(run_dir) is not None
        new, offset = read_events(path, offset)
        yield from new
        last = new[-1] if new else last
        has_ended = isinstance(last, ENDS)
        if not follow or has_ended:
            return
        if not is_alive:
            yield _interruption()
            return
        if not new:
            time.sleep(_POLL)


def read_preview(run_dir: Path, event: events.Previewed) -> list[Volume]:
    volumes = [nifti.read(run_dir / path) for path in event.paths]
    if not len(volumes) == len(event.names) == len(event.windows):  # a run of an earlier version
        return volumes
    return [
        replace(volume, name=name, window=(window[0], window[1]) if window else None)
        for volume, name, window in zip(volumes, event.names, event.windows, strict=True)
    ]


def fingerprint(path: Path) -> str:
    """Hash size, start, middle and end of a file, quick for thousands of scans; "" without one.

    The fingerprint of a series inside a file is that of the file.
    """
    path = path.parent if path.parent.is_file() else path
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(str(size).encode(), digest_size=16)
            for start in (0, size // 2, max(0, size - _SAMPLED_BYTES)):
                file.seek(start)
                digest.update(file.read(_SAMPLED_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def hash_split(split: Split) -> str:
    text = json.dumps(asdict(split), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file, whole or not at all: a run may be killed at any moment."""
    with replacing(path) as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")


def _write_reference(run_dir: Path, reference: Reference) -> dict[str, Any]:
    folder = run_dir.resolve()
    resolved = functools.cache(Path.resolve)  # slices share a folder, which may be far away

    def place(path: Path) -> str:
        path = resolved(path.parent) / path.name
        # Inside the run folder paths are relative, so that the folder can be moved.
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

    return {
        "path": place(reference.path),
        "subject": reference.subject,
        "why_subject": reference.why_subject,
        "set": reference.set,
        "labels": [place(path) for path in reference.labels],
        "slices": [place(path) for path in reference.slices],
        "covariates": reference.participant.known,
        "fingerprint": fingerprint(reference.path),
    }


def _parse_reference(run_dir: Path, entry: Mapping[str, Any]) -> Reference:
    return Reference(
        path=run_dir / entry["path"],
        subject=entry["subject"],
        labels=tuple(run_dir / path for path in entry["labels"]),
        slices=tuple(run_dir / path for path in entry.get("slices", ())),
        participant=Participant(**entry.get("covariates", {})),
        why_subject=entry.get("why_subject", ""),
        set=entry.get("set", set_of(Path(entry["path"]))),  # Older runs did not write it.
    )


def _interruption() -> events.Failed:
    return events.Failed(
        "The run was interrupted: its process ended unexpectedly.",
        advice="Resume it: it goes on from the last checkpoint.",
    )
