"""Model card: what a trained model says of itself, read from its header without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_mrgen import families
from napari_mrgen.engine.run.model_header import Header, read_header

MOST_FIGURES = 4


@dataclass(frozen=True)
class ModelCard:
    """A run folder or model file, and its own description."""

    path: Path
    family: str
    text: str


def read_card(path: Path) -> ModelCard:
    """Read what a model says of itself.

    Raises
    ------
    MrgenError
        If there is no model, or it is of an unknown family.
    """
    header = read_header(path)
    return ModelCard(path, header.family, describe(header))


def describe(header: Header) -> str:
    """Say in a few lines what a model is."""
    subjects = "1 subject" if header.subjects == 1 else f"{header.subjects} subjects"
    lines = [
        families.get(header.family).title,
        f"Trained for {header.step:,} steps ({header.stage}) on {subjects}.",
    ]
    figures = [f"{name} {value:.4g}" for name, value in header.metrics.items()]
    if figures:
        lines.append(f"Scores: {', '.join(figures[:MOST_FIGURES])}.")
    return "\n".join(lines)
