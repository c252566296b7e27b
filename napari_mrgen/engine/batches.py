"""Batches of a stage: which samples, in which order, with which draws, follows from the step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from napari_mrgen.engine.task import Batch, Dataset, Draws


@dataclass
class Batches:
    """The batch of every step.

    Epochs follow one another without a gap: an endless row of permutations, cut into batches. So no
    sample is dropped, no batch is short, and data sets smaller than a batch work.

    Parameters
    ----------
    draws
        Of this run and stage.
    size
        Samples in a step, over all processes.
    rank, processes
        Process ``rank`` takes every ``processes``-th sample.
    """

    dataset: Dataset
    draws: Draws
    size: int
    rank: int = 0
    processes: int = 1
    _epoch: int = field(default=-1, init=False)
    _order: list[int] = field(default_factory=list, init=False)

    def __call__(self, step: int) -> Batch:
        start = step * self.size
        places = range(start + self.rank, start + self.size, self.processes)
        samples = [self._sample(place) for place in places]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _sample(self, place: int) -> Batch:
        epoch, position = divmod(place, len(self.dataset))
        if epoch != self._epoch:
            generator = self.draws("order", epoch)
            self._order = torch.randperm(len(self.dataset), generator=generator).tolist()
            self._epoch = epoch
        index = self._order[position]
        return self.dataset.sample(index, self.draws("sample", epoch, index))
