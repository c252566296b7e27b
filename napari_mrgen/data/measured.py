"""What a scanner has measured, as a network is given it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_mrgen.data.realtime import Measured, grid
from napari_mrgen.data.undersampled import Case, case_of
from napari_mrgen.errors import MrgenError
from napari_mrgen.kspace import KSpace
from napari_mrgen.mri import density, toeplitz

_ALIKE, _MOST = 0.05, 0.9
"""Along spokes nearly all steps from sample to sample are of about the same length."""


def measured_of(kspace: KSpace) -> Iterator[Measured]:
    """Yield the slices of radial k-space.

    Raises
    ------
    MrgenError
        If the samples lie on a grid.
    """
    if kspace.trajectory is None:
        msg = (
            f"{kspace.name or 'This file'} holds k-space on a grid; the model was trained on "
            "spokes: give a file with a radial trajectory."
        )
        raise MrgenError(msg)
    trajectory = torch.from_numpy(kspace.trajectory)
    weights = shares(trajectory, kspace.shape)
    for place in range(kspace.slices):
        samples = torch.from_numpy(kspace.samples[:, place])
        yield Measured(samples, trajectory, weights, kspace.shape)


def shares(trajectory: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return what share of k-space each sample stands for: along spokes, or wherever they lie."""
    steps = (trajectory[:, 1:] - trajectory[:, :-1]).norm(dim=-1)
    usual = steps.median()
    is_radial = ((steps / usual - 1).abs() < _ALIKE).float().mean() > _MOST
    return density.ramp(trajectory) if is_radial else density.pipe(trajectory, shape)


def case_of_samples(measured: Measured, *, shared: bool, physics: bool) -> Case:
    """Put together what a network is given of a slice; see `undersampled.case_of`."""
    kernel = None
    if physics:
        kernel = toeplitz.kernel(measured.trajectory, measured.weights, measured.shape)
    return case_of(grid(measured), kernel, shared=shared)
