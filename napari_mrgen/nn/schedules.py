"""Learning-rate schedules as functions of the share of the training that is done."""

from __future__ import annotations

import math


def one_cycle(done: float, warm_up: float = 0.05) -> float:
    """Return the rate relative to its peak: linear warm-up, then cosine decay."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) + 1e-3


def linear_decay(done: float, constant: float, warm_up: float = 0.0) -> float:
    """Return the rate relative to its peak: linear warm-up, constant, then linear decay to 0.

    The decay starts at the share ``constant`` of the training.
    """
    if done < warm_up:
        return (done + 1e-3) / (warm_up + 1e-3)
    if done <= constant:
        return 1.0
    return max(0.0, (1 - done) / (1 - constant))
