"""Inputs: what a run trains on, by role, as references that are read lazily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from napari_mrgen.data.split import Split
from napari_mrgen.io.find import Reference


@dataclass(frozen=True)
class Inputs:
    """Scans by role, and the split of their subjects.

    A single subject cannot be split: it is trained on, nothing is held out, and `test` returns the
    training scans, which a run says in a warning.
    """

    references: Mapping[str, tuple[Reference, ...]]
    split: Split

    @property
    def nothing_held_out(self) -> bool:
        return not self.split.test

    def train(self, role: str) -> tuple[Reference, ...]:
        return tuple(r for r in self.references.get(role, ()) if r.subject in self.split.train)

    def test(self, role: str) -> tuple[Reference, ...]:
        subjects = self.split.test or self.split.train
        return tuple(r for r in self.references.get(role, ()) if r.subject in subjects)
