"""Save layers of the viewer as files, so that a run can be resumed without it.

The files keep the subject, so that scans of one subject are never split, and what is known of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from napari_mrgen.app.session import Sources
from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume


def save_sources(sources: Sources, folder: Path, suffix: str = ".nii.gz") -> dict[str, list[Path]]:
    """Write volumes as NIfTI; return the paths of all sources by role."""
    saved: dict[str, list[Path]] = {}
    for role, given in sources.items():
        volumes = [one for one in given if isinstance(one, Volume)]
        saved[role] = [one for one in given if not isinstance(one, Volume)]
        for number, volume in enumerate(case for one in volumes for case in cases(one)):
            # A folder each: two scans of one subject bear the same name, by which it is known.
            path = folder / role / f"{number:03d}" / f"{_subject(volume)}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if volume.source is not None and volume.participant.known:
                # The file as it was has no room for what is known of the participant.
                volume = replace(volume, source=replace(volume.source, stored=None))
            nifti.write(volume, path)
            saved[role].append(path)
    return saved


def cases(volume: Volume) -> Iterable[Volume]:
    """Take a set of cases, stacked along ``n``, apart; a volume is one case."""
    if "n" not in volume.axes or not volume.cases:
        return (volume,)
    axes = volume.axes.replace("n", "")
    return (
        replace(volume, array=one, axes=axes, name=name, subject=name, cases=(), source=None)
        for one, name in zip(volume.array, volume.cases, strict=True)
    )


def _subject(volume: Volume) -> str:
    """Return the subject, or else the layer's name, as a file may be called."""
    text = volume.subject or volume.name or "scan"
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in text)
    return safe.strip("-_")[:60] or "scan"
