"""What a scanner has measured, as a network is given it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_mrgen.data.realtime import Measured, grid
from napari_mrgen.data.undersampled import Case, case_of
from napari_mrgen.errors import MrgenError
from napari_mrgen.kspace import KSpace
from napari_mrgen.mri import gridding, nufft

_ALIKE, _MOST = 0.05, 0.9
"""Along spokes nearly all steps from sample to sample are alike, and lead straight on."""


def measured_of(kspace: KSpace) -> Iterator[Measured]:
    """Yield the slices of radial k-space.

    Raises
    ------
    MrgenError
        If the samples lie on a grid, or along anything but spokes.
    """
    if kspace.trajectory is None:
        msg = (
            f"{kspace.name or 'This file'} holds k-space on a grid; the model was trained on "
            "spokes: give a file with a radial trajectory."
        )
        raise MrgenError(msg)
    trajectory = torch.from_numpy(kspace.trajectory)
    if not is_radial(trajectory):
        msg = (
            f"The samples of {kspace.name or 'this file'} do not lie along spokes; the model was "
            "trained on spokes: give a radial scan."
        )
        raise MrgenError(msg)
    weights = gridding.radial_weights(trajectory)
    for place in range(kspace.slices):
        samples = torch.from_numpy(kspace.samples[:, place])
        yield Measured(samples, trajectory, weights, kspace.shape)


def is_radial(trajectory: Tensor) -> bool:
    """Whether samples ``(t, k, 2)`` lie along spokes: evenly, and straight through the centre."""
    steps = trajectory[:, 1:] - trajectory[:, :-1]
    lengths, here = steps.norm(dim=-1), trajectory[:, 1:]
    aside = (here[..., 0] * steps[..., 1] - here[..., 1] * steps[..., 0]).abs()
    is_straight = aside <= _ALIKE * (here.norm(dim=-1) * lengths + 1e-6)
    is_even = (lengths / lengths.median() - 1).abs() < _ALIKE
    return bool((is_straight & is_even).float().mean() > _MOST)


def case_of_samples(measured: Measured, *, shared: bool, physics: bool) -> Case:
    """Put together what a network is given of a slice; see `undersampled.case_of`."""
    kernel = None
    if physics:
        kernel = nufft.toeplitz_kernel(measured.trajectory, measured.weights, measured.shape)
    return case_of(grid(measured), kernel, shared=shared)
