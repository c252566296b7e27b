"""The stages of a run, one after the other, and the scoreboard at its end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from napari_mrgen.data.preparing import Preparing
from napari_mrgen.engine.building import DrawingFrom
from napari_mrgen.engine.curves import draw_curves, read_curves
from napari_mrgen.engine.distributed import Wish
from napari_mrgen.engine.job import Job, Trainee
from napari_mrgen.engine.loop import train_stage
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run import folder as runs
from napari_mrgen.engine.run import pictures as album
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.journal import write_scoreboard
from napari_mrgen.engine.run.model import load_weights, put_weights
from napari_mrgen.engine.run.model_header import check_start, first_line, read_header
from napari_mrgen.engine.run.state import load_state
from napari_mrgen.engine.task import Draws, Stage
from napari_mrgen.engine.weights import Average
from napari_mrgen.errors import MrgenError
from napari_mrgen.metrics.scoreboard import Score, Scoreboard, tabulate


def train(job: Job) -> Iterator[Event]:
    """Train what is not trained yet; the last event is `Stopped` or `Finished`."""
    source = job.family.stages(job.config, job.inputs)
    names = stage_names(job)
    last: Trainee | None = None
    for index, name in enumerate(names):
        yield events.Progressed(f"Preparing stage {name}")
        stage = yield from _build(job, source, index)
        if stage is None:
            yield events.Stopped(name, 0)
            return
        if job.choices.only_stage not in (None, name):
            continue
        last = _enrol(job, index, stage)
        if job.stage_model_path(name).exists():
            _take_finished(job, last)
        else:
            yield from _train(job, last)
        is_stopped = job.team.agree(job.wish()) is Wish.STOP
        if not last.is_complete or (is_stopped and index + 1 < len(names)):
            yield events.Stopped(name, last.step)
            return
        if not job.team.is_first:  # The first process has done so before it wrote the results.
            _take_best(job, last)
        last.average.hand_over()
        for network in stage.task.networks.values():
            job.team.release(network)
    if last is None:
        msg = f"{job.family.name} has nothing to train with this configuration."
        raise MrgenError(msg)
    yield from _conclude(job, last)


def stage_names(job: Job) -> tuple[str, ...]:
    """Return the stages to be built: those before a stage that runs alone prepare the way."""
    known, wanted = job.config.stages, job.choices.only_stage
    if wanted is None:
        return known
    job.config.check_stage(wanted, has_start=job.choices.start_from is not None)
    return known[: known.index(wanted) + 1]


def _build(
    job: Job, source: Iterator[Stage | Preparing], index: int
) -> Generator[Event, None, Stage | None]:
    """Let the family build its next stage; the first weights follow from the seed alone.

    None if a stop was asked for while it made its data ready.
    """
    drawing = DrawingFrom(Draws((job.config.seed, "stage", index))())
    while True:
        with drawing:
            stage = next(source, None)
        if not isinstance(stage, Preparing):
            break
        yield events.Progressed(stage.title, stage.share)
        # Of several processes some may find this work done: they agree at the first step.
        if job.team.size == 1 and job.control.is_stopped:
            return None
    if stage is None or stage.name != job.config.stages[index]:
        got = "none" if stage is None else repr(stage.name)
        msg = f"{job.family.name}: expected stage {job.config.stages[index]!r}, got {got}"
        raise ValueError(msg)
    return stage


def _enrol(job: Job, index: int, stage: Stage) -> Trainee:
    """Bring networks and optimizers to the device, with an average beside them."""
    task = stage.task
    # Copied before the networks are prepared: their copies must not call the originals.
    average = Average({name: task.networks[name] for name in task.shipped}, job.config.ema_decay)
    for network in (*task.networks.values(), *average.networks.values()):
        job.team.prepare(network)
    task.device = job.team.device
    task.average_gradients = job.team.average_gradients
    task.together = job.team.together
    return Trainee(index, stage, average)


def _take_finished(job: Job, trainee: Trainee) -> None:
    path = job.stage_model_path(trainee.stage.name)
    put_weights(trainee.average.networks, load_weights(path), path.name)
    header = read_header(path)
    trainee.step, trainee.metrics, trainee.was_finished = header.step, header.metrics, True


def _take_start(job: Job, trainee: Trainee) -> None:
    """Let the first stage trained take over the networks of the model to start from, if any."""
    if job.choices.start_from is None or not (job.choices.only_stage or trainee.index == 0):
        return
    source = Path(job.choices.start_from)
    check_start(source, job.family.name)
    weights, networks = load_weights(source), trainee.stage.task.networks
    if not weights.keys() & networks.keys():
        msg = (
            f"{source.name} has no network of stage {trainee.stage.name}: expected one of "
            f"{', '.join(networks)}, got {', '.join(weights)}; start from another model."
        )
        raise MrgenError(msg)
    put_weights(networks, weights, source.name)
    put_weights(trainee.average.networks, weights, source.name)


def _train(job: Job, trainee: Trainee) -> Iterator[Event]:
    """Train a stage from its newest state on; when complete, let it write its results."""
    stage = trainee.stage
    step, damaged = load_state(job.checkpoints, trainee)
    if step is None:
        _take_start(job, trainee)
        if stage.patience is not None and job.team.is_first:
            job.best_path.unlink(missing_ok=True)  # It would be of a stage before this one.
    trainee.step = step or 0
    trainee.is_over = stage.patience is not None and stage.patience.is_over(trainee.standing)
    for name in damaged:
        yield events.Warned(f"The checkpoint {name} is damaged and was passed over.")
    yield events.StageStarted(stage.name, stage.title, trainee.step, stage.steps)
    yield from train_stage(job, trainee)
    if trainee.is_complete and job.team.is_first:
        if stage.patience is not None:
            job.save_model(job.last_path, trainee)
            _take_best(job, trainee)
        yield events.Progressed(f"Writing the results of stage {stage.name}")
        with torch.no_grad():
            stage.task.finish(trainee.average.networks, job.run_dir)
        # After all that a resumed run would need again: it says that the stage is finished.
        job.save_model(job.stage_model_path(stage.name), trainee)
        yield from _look_back(job, trainee)


def _take_best(job: Job, trainee: Trainee) -> None:
    """Let the best model of a stage with `Patience` take the place of its last one."""
    path = job.best_path
    if trainee.stage.patience is None or trainee.was_finished or not path.exists():
        return
    header = read_header(path)
    put_weights(trainee.average.networks, load_weights(path), path.name)
    trainee.metrics, trainee.best_step = header.metrics, header.step


def _look_back(job: Job, trainee: Trainee) -> Iterator[Event]:
    """Leave a movie of the stage's previews, and its curves as a figure."""
    stage, folder = trainee.stage, job.run_dir
    try:
        pictures = sorted((folder / "previews").glob(f"{trainee.index}-{stage.name}-*-0.png"))
        album.bind(pictures, folder / "movies" / f"{stage.name}_training.gif")
        curves = read_curves(folder / "metrics.csv", stage.name)
        draw_curves(curves, stage.title, folder / "figures" / f"{stage.name}_curves.png")
    except Exception as error:  # noqa: BLE001 - no picture is worth a finished training
        yield events.Warned(
            f"The movie or the curves of stage {stage.name} are missing ({first_line(error)})."
        )


def _conclude(job: Job, trainee: Trainee) -> Iterator[Event]:
    """Score the model beside the trivial methods, and save it."""
    if not job.team.is_first:
        yield events.Finished(str(job.model_path))
        return
    scoreboard = yield from _score(job, trainee)
    if scoreboard is None:
        yield events.Stopped(trainee.stage.name, trainee.step)
        return
    runs.write_json(job.run_dir / "scoreboard.json", write_scoreboard(scoreboard))
    figures = scoreboard.rows[0].mean if scoreboard.rows else trainee.metrics
    job.save_model(job.model_path, trainee, figures)
    yield events.Finished(str(job.model_path), scoreboard)


def _score(job: Job, trainee: Trainee) -> Generator[Event, None, Scoreboard | None]:
    """Score subject by subject; None if a stop was asked for."""
    subjects = {scan.subject for role in job.inputs.references for scan in job.inputs.test(role)}
    source = job.family.score(trainee.average.networks, job.config, job.inputs)
    scores: list[Score] = []
    seen: set[str] = set()
    while not job.control.is_stopped:
        with torch.no_grad():
            score = next(source, None)
        if score is None:
            return tabulate(scores)
        scores.append(score)
        if score.subject not in seen:
            seen.add(score.subject)
            yield events.Progressed("Scoring on held-out subjects", len(seen) / len(subjects))
    return None
