"""How learning rates change while a stage trains: functions of the share that is done."""

from __future__ import annotations

import math


def one_cycle(done: float, warm_up: float = 0.05) -> float:
    """Learning rate as a share of its peak: up in a line, down along half a cosine."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) + 1e-3


def linear_decay(done: float, constant: float, warm_up: float = 0.0) -> float:
    """Learning rate as a share of its peak: up in a line, constant, down in a line to nothing.

    It falls from the share ``constant`` of the training on.
    """
    if done < warm_up:
        return (done + 1e-3) / (warm_up + 1e-3)
    if done <= constant:
        return 1.0
    return max(0.0, (1 - done) / (1 - constant))
