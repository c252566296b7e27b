"""The stages of a run, one after the other, and the scoreboard at its end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.context import StageState, TrainingContext
from napari_mrgen.engine.distributed import Action
from napari_mrgen.engine.loop import train_stage
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run import folder as runs
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.journal import write_scoreboard
from napari_mrgen.engine.run.model import load_weights, put_weights
from napari_mrgen.engine.run.model_header import check_start, first_line, read_header
from napari_mrgen.engine.run.pictures import plot_curves, read_curves, save_movie
from napari_mrgen.engine.run.state import load_state
from napari_mrgen.engine.task import Draws, Stage
from napari_mrgen.engine.weights import DefaultGenerator, WeightAverage
from napari_mrgen.errors import MrgenError
from napari_mrgen.metrics.scoreboard import Score, Scoreboard, tabulate


def train(context: TrainingContext) -> Iterator[Event]:
    """Train what is not trained yet; the last event is `Stopped` or `Finished`."""
    source = context.family.stages(context.config, context.inputs)
    names = stage_names(context)
    last: StageState | None = None
    for index, name in enumerate(names):
        yield events.Progress(f"Preparing stage {name}")
        stage = yield from _build(context, source, index)
        if stage is None:
            yield events.Stopped(name, 0)
            return
        if context.options.only_stage not in (None, name):
            continue
        last = _begin(context, index, stage)
        if context.model_path(name).exists():
            _take_finished(context, last)
        else:
            yield from _train(context, last)
        is_stopped = context.group.agree(context.requested_action()) is Action.STOP
        if not last.is_complete or (is_stopped and index + 1 < len(names)):
            yield events.Stopped(name, last.step)
            return
        if not context.group.is_first:  # The first process has done so before it wrote the results.
            _take_best(context, last)
        last.average.hand_over()
        for network in stage.task.networks.values():
            context.group.release(network)
    if last is None:
        msg = f"{context.family.name} has nothing to train with this configuration."
        raise MrgenError(msg)
    yield from _conclude(context, last)


def stage_names(context: TrainingContext) -> tuple[str, ...]:
    """Return the stages to be built: those before a stage that runs alone prepare the way."""
    names, only = context.config.stages, context.options.only_stage
    if only is None:
        return names
    context.config.check_stage(only, has_start=context.options.start_from is not None)
    return names[: names.index(only) + 1]


def _build(
    context: TrainingContext, source: Iterator[Stage | Progress], index: int
) -> Generator[Event, None, Stage | None]:
    """Let the family build its next stage; the first weights follow from the seed alone.

    Returns None if a stop was requested while the data was prepared.
    """
    weights = DefaultGenerator(Draws((context.config.seed, "stage", index))())
    while True:
        with weights:
            stage = next(source, None)
        if not isinstance(stage, Progress):
            break
        yield stage
        # Some of several processes may have nothing to prepare: they agree at the first step.
        if context.group.size == 1 and context.control.is_stopped:
            return None
    if stage is None or stage.name != context.config.stages[index]:
        got = "none" if stage is None else repr(stage.name)
        msg = f"{context.family.name}: expected stage {context.config.stages[index]!r}, got {got}"
        raise ValueError(msg)
    return stage


def _begin(context: TrainingContext, index: int, stage: Stage) -> StageState:
    """Bring networks and optimizers to the device, and start the average of the weights."""
    task = stage.task
    # Copied before the networks are prepared: their copies must not call the originals.
    average = WeightAverage(
        {name: task.networks[name] for name in task.shipped}, context.config.ema_decay
    )
    for network in (*task.networks.values(), *average.networks.values()):
        context.group.prepare(network)
    task.device = context.group.device
    task.average_gradients = context.group.average_gradients
    task.together = context.group.together
    return StageState(index, stage, average)


def _take_finished(context: TrainingContext, state: StageState) -> None:
    """Load the model of a stage that an earlier process has finished."""
    path = context.model_path(state.stage.name)
    put_weights(state.average.networks, load_weights(path), path.name)
    header = read_header(path)
    state.step, state.metrics, state.was_finished = header.step, header.metrics, True


def _take_start(context: TrainingContext, state: StageState) -> None:
    """Let the first stage trained take over the networks of the model to start from, if any."""
    if context.options.start_from is None or not (context.options.only_stage or state.index == 0):
        return
    source = Path(context.options.start_from)
    check_start(source, context.family.name)
    weights, networks = load_weights(source), state.stage.task.networks
    if not weights.keys() & networks.keys():
        msg = (
            f"{source.name} has no network of stage {state.stage.name}: expected one of "
            f"{', '.join(networks)}, got {', '.join(weights)}; start from another model."
        )
        raise MrgenError(msg)
    put_weights(networks, weights, source.name)
    put_weights(state.average.networks, weights, source.name)


def _train(context: TrainingContext, state: StageState) -> Iterator[Event]:
    """Train a stage from its newest state on; when complete, let it write its results."""
    stage = state.stage
    step, damaged = load_state(context.checkpoints, state)
    if step is None:
        _take_start(context, state)
        if stage.early_stopping is not None and context.group.is_first:
            context.model_path("best").unlink(
                missing_ok=True
            )  # It would be of a stage before this one.
    state.step = step or 0
    state.is_over = stage.early_stopping is not None and stage.early_stopping.is_over(
        state.early_stopping
    )
    for name in damaged:
        yield events.Warned(f"The checkpoint {name} is damaged and was skipped.")
    yield events.StageStarted(stage.name, stage.title, state.step, stage.steps)
    yield from train_stage(context, state)
    if state.is_complete and context.group.is_first:
        if stage.early_stopping is not None:
            context.save_model(context.model_path("last"), state)
            _take_best(context, state)
        yield events.Progress(f"Writing the results of stage {stage.name}")
        with torch.no_grad():
            stage.task.finish(state.average.networks, context.run_dir)
        # The last file of a stage: a resumed run takes the stage as finished if it is there.
        context.save_model(context.model_path(stage.name), state)
        yield from _summarise(context, state)


def _take_best(context: TrainingContext, state: StageState) -> None:
    """Let the best model of a stage with `EarlyStopping` take the place of its last one."""
    path = context.model_path("best")
    if state.stage.early_stopping is None or state.was_finished or not path.exists():
        return
    header = read_header(path)
    put_weights(state.average.networks, load_weights(path), path.name)
    state.metrics, state.best_step = header.metrics, header.step


def _summarise(context: TrainingContext, state: StageState) -> Iterator[Event]:
    """Write a movie of the stage's previews, and a plot of its curves."""
    stage, folder = state.stage, context.run_dir
    try:
        pictures = sorted((folder / "previews").glob(f"{state.index}-{stage.name}-*-0.png"))
        save_movie(pictures, folder / "movies" / f"{stage.name}_training.gif")
        curves = read_curves(folder / "metrics.csv", stage.name)
        plot_curves(curves, stage.title, folder / "figures" / f"{stage.name}_curves.png")
    except Exception as error:  # noqa: BLE001 - no picture is worth a finished training
        yield events.Warned(
            f"The movie or the curves of stage {stage.name} are missing ({first_line(error)})."
        )


def _conclude(context: TrainingContext, state: StageState) -> Iterator[Event]:
    """Score the model and the baselines, and save it."""
    if not context.group.is_first:
        yield events.Finished(str(context.model_path()))
        return
    scoreboard = yield from _score(context, state)
    if scoreboard is None:
        yield events.Stopped(state.stage.name, state.step)
        return
    runs.write_json(context.run_dir / "scoreboard.json", write_scoreboard(scoreboard))
    metrics = scoreboard.rows[0].mean if scoreboard.rows else state.metrics
    context.save_model(context.model_path(), state, metrics)
    yield events.Finished(str(context.model_path()), scoreboard)


def _score(
    context: TrainingContext, state: StageState
) -> Generator[Event, None, Scoreboard | None]:
    """Score subject by subject; return None if a stop was requested."""
    subjects = {
        scan.subject for role in context.inputs.references for scan in context.inputs.test(role)
    }
    source = context.family.score(state.average.networks, context.config, context.inputs)
    scores: list[Score] = []
    scored: set[str] = set()
    while not context.control.is_stopped:
        with torch.no_grad():
            score = next(source, None)
        if score is None:
            return tabulate(scores)
        scores.append(score)
        if score.subject not in scored:
            scored.add(score.subject)
            yield events.Progress("Scoring on held-out subjects", len(scored), len(subjects))
    return None
