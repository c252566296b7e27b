"""When memory runs out, a run goes on from its last checkpoint with settings that need less."""

from __future__ import annotations

from dataclasses import replace

import torch

from napari_mrgen.engine.device import free_bytes
from napari_mrgen.engine.distributed import Team
from napari_mrgen.engine.family import Advice, Plan, TrainConfig
from napari_mrgen.engine.heap import set_threshold
from napari_mrgen.engine.job import Job
from napari_mrgen.engine.memory.advice import advise
from napari_mrgen.engine.run import folder
from napari_mrgen.engine.run.state import saved_states

_TRUSTED = 0.9
"""What needs more than this share of what has just been too much is not tried."""
NOTHING_HELPS = (
    "Nothing that this training could do with less memory is enough; take a smaller preset or "
    "crop, or another device."
)


def find_smaller(job: Job) -> Advice | None:
    """Return the mildest change with which the run fits into the memory that is free now.

    Before its first checkpoint it may become another network; later it must be one that can go on
    with the weights.
    """
    config, precision = job.config, job.team.precision
    plan = replace(job.family.plan(config, job.inputs, precision), precision=precision)

    was = _weights(job, config, plan) if _has_begun(job) else None

    def keeps(changed: TrainConfig) -> bool:
        return was is None or _weights(job, changed, plan) == was

    available = min(free_bytes(job.team.device), int(_TRUSTED * plan.memory_bytes))
    return next(iter(advise(job.family, config, job.inputs, plan, available, keeps)), None)


def announce(job: Job, advice: Advice) -> str:
    """Say what a run does when its memory has run out."""
    goes_on = "goes on from its last checkpoint" if _has_begun(job) else "begins again"
    needed = round(advice.memory_bytes / 2**20)
    return f"Memory ran out: the run {goes_on} with {advice.title}, about {needed:,} MiB."


def step_down(job: Job, advice: Advice) -> Job:
    """Return the run with less to keep in memory, and let a resumed one go on so too."""
    config = job.config.with_values(dict(advice.changes))
    set_threshold(0)
    team = Team(job.team.device, advice.precision)
    choices = replace(job.choices, precision=team.precision)
    folder.set_course(job.run_dir, choices, config)
    return replace(job, config=config, choices=choices, team=team)


def _has_begun(job: Job) -> bool:
    return bool(saved_states(job.checkpoints))


def _weights(job: Job, config: TrainConfig, plan: Plan) -> dict[str, torch.Size]:
    with torch.device("meta"):
        networks = job.family.networks(config, plan.shape)
    return {
        f"{name}/{key}": tensor.shape
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
