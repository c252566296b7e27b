"""When memory runs out, a run goes on from its last checkpoint with settings that need less."""

from __future__ import annotations

from dataclasses import replace

import torch

from napari_mrgen.engine.context import TrainingContext
from napari_mrgen.engine.device import device_info, set_malloc_threshold
from napari_mrgen.engine.distributed import ProcessGroup
from napari_mrgen.engine.family import Advice, Plan, TrainConfig
from napari_mrgen.engine.memory.advice import advise
from napari_mrgen.engine.run import folder
from napari_mrgen.engine.run.state import saved_states
from napari_mrgen.wording import format_size

_TRUSTED = 0.9
"""What needs more than this share of what has just been too much is not tried."""
NOTHING_HELPS = (
    "Nothing that this training could do with less memory is enough; take a smaller preset or "
    "crop, or another device."
)


def find_smaller(context: TrainingContext) -> Advice | None:
    """Return the mildest change with which the run fits into the memory that is free now.

    Before its first checkpoint it may become another network; later it must be one that can go on
    with the weights.
    """
    config, precision = context.config, context.group.precision
    plan = replace(context.family.plan(config, context.inputs, precision), precision=precision)

    was = _weights(context, config, plan) if _has_begun(context) else None

    def keeps(changed: TrainConfig) -> bool:
        return was is None or _weights(context, changed, plan) == was

    available = min(device_info(context.group.device).free_bytes, int(_TRUSTED * plan.memory_bytes))
    return next(iter(advise(context.family, config, context.inputs, plan, available, keeps)), None)


def announce(context: TrainingContext, advice: Advice) -> str:
    """Say what a run does when its memory has run out."""
    goes_on = "goes on from its last checkpoint" if _has_begun(context) else "begins again"
    needed = format_size(advice.memory_bytes)
    return f"Memory ran out: the run {goes_on} with {advice.title}, about {needed}."


def step_down(context: TrainingContext, advice: Advice) -> TrainingContext:
    """Return the run with less to keep in memory, and let a resumed one go on so too."""
    config = context.config.with_values(dict(advice.changes))
    set_malloc_threshold(0)
    group = ProcessGroup(context.group.device, advice.precision)
    options = replace(context.options, precision=group.precision)
    folder.save_settings(context.run_dir, options, config)
    return replace(context, config=config, options=options, group=group)


def _has_begun(context: TrainingContext) -> bool:
    return bool(saved_states(context.checkpoints))


def _weights(context: TrainingContext, config: TrainConfig, plan: Plan) -> dict[str, torch.Size]:
    with torch.device("meta"):
        networks = context.family.networks(config, plan.shape)
    return {
        f"{name}/{key}": tensor.shape
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
