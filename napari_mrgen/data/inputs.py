"""What a run trains on: scans by role, read lazily, and which subjects are held out."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference


@dataclass(frozen=True)
class Split:
    """Subjects to train on and subjects held out; never one in both."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        both = sorted(set(self.train) & set(self.test))
        if both:
            msg = f"A subject cannot be trained on and held out: {', '.join(both)}."
            raise MrgenError(msg)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def parse(cls, values: Any) -> Split:
        """Read what `save` writes; raise `KeyError` or `TypeError` where it is something else."""
        return cls(_names(values["train"]), _names(values["test"]))

    @classmethod
    def load(cls, path: Path) -> Split:
        try:
            return cls.parse(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            expected = '{"train": [...], "test": [...]}'
            msg = f"{path.name} is not a split file; expected {expected} ({error})."
            raise MrgenError(msg) from None


def _names(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        msg = f"got {values!r} for a list of subjects"
        raise TypeError(msg)
    return tuple(values)


def split_subjects(subjects: Iterable[str], held_out: float, seed: int) -> Split:
    """Hold out a share of the subjects, at least one; a single subject is trained on."""
    order = sorted(set(subjects))
    random.Random(seed).shuffle(order)
    count = min(max(1, round(held_out * len(order))), len(order) - 1)
    return Split(train=tuple(sorted(order[count:])), test=tuple(sorted(order[:count])))


@dataclass(frozen=True)
class LeftOut:
    """A file that is not taken, and why."""

    path: Path
    why: str


@dataclass(frozen=True)
class Inputs:
    """Scans by role, and the split of their subjects.

    A single subject cannot be split: it is trained on, nothing is held out, and `test` returns the
    training scans, which a run says in a warning.

    Attributes
    ----------
    left_out
        Scans that were found and are not used.
    notes
        What a user should know of how they were chosen, a sentence each.
    """

    references: Mapping[str, tuple[Reference, ...]]
    split: Split
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def nothing_held_out(self) -> bool:
        return not self.split.test

    def train(self, role: str) -> tuple[Reference, ...]:
        return tuple(r for r in self.references.get(role, ()) if r.subject in self.split.train)

    def test(self, role: str) -> tuple[Reference, ...]:
        subjects = self.split.test or self.split.train
        return tuple(r for r in self.references.get(role, ()) if r.subject in subjects)
