"""A training replayed: the pictures of its previews, which every run keeps, as a movie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_mrgen import families
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.pictures import PICTURES_A_SECOND, film, pictures_of
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume


def replay(run_dir: Path, stage: str | None = None) -> Volume:
    """Return the previews of a run so far, ``tzyx`` with one z, a frame each.

    Parameters
    ----------
    stage
        The last that has two previews, where none is named.

    Raises
    ------
    MrgenError
        If the folder is no run, or has nothing to replay yet.
    """
    run = Run(run_dir)
    config = run.config(families.get(run.options.family))
    if stage is not None:
        config.check_stage(stage, has_start=True)
    for name in (stage,) if stage else reversed(config.stages):
        movie = film(pictures_of(run_dir, name))
        if movie is not None:
            times = tuple(frame / PICTURES_A_SECOND for frame in range(movie.size("t")))
            return replace(movie, times=times, name=f"{run_dir.name}: {name}")
    msg = (
        f"{run_dir.name} has fewer than two previews, and no movie is made of one: they come every "
        f"{config.preview_every} steps (preview_every)."
    )
    raise MrgenError(msg)
