"""The non-uniform Fourier transform, between coil images and samples anywhere in k-space.

Neither way is normalised: ``sample = sum over pixels of image * exp(-i k·r)``, where ``r`` counts
pixels from the centre, index ``size // 2``. So a sample at k = 0 is the sum of the image.

On a CPU finufft computes it (Barnett et al., SIAM J Sci Comput 41:C479, 2019), to an error of about
2e-5 in single and 1e-12 in double precision; one way is the adjoint of the other to rounding.
On other devices it is the sum as it stands, written as products of matrices: what a GPU does best.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

_SETTINGS = {
    # Samples of a few spokes lie thinly, so FFTs take the time, and a smaller grid is four times
    # faster. The tolerance is what it reaches; beyond are only the roundings of single precision.
    torch.complex64: {"eps": 3e-5, "upsampfac": 1.25},
    torch.complex128: {"eps": 1e-12, "upsampfac": 2.0},
}

Direction = Literal["forward", "adjoint"]


def forward(series: Tensor, trajectory: Tensor) -> Tensor:
    """Sample coil images along a trajectory, each frame along its own.

    Parameters
    ----------
    series
        Complex, ``(t, c, y, x)``.
    trajectory
        ``(t, k, 2)``, radians a pixel, y then x. No gradient flows to it.

    Returns
    -------
    Tensor
        ``(t, c, k)``.
    """
    _check(series, 4, "series (t, c, y, x)", trajectory)
    sampled: Tensor = _Forward.apply(series, trajectory)  # type: ignore[no-untyped-call]
    return sampled


def adjoint(samples: Tensor, trajectory: Tensor, shape: tuple[int, int]) -> Tensor:
    """Add up the waves of all samples: the adjoint of `forward`, not its inverse.

    Parameters
    ----------
    samples
        Complex, ``(t, c, k)``; times the weights of `density` it makes images of the right scale.
    trajectory
        ``(t, k, 2)``, as for `forward`.
    shape
        Pixels along y and x.

    Returns
    -------
    Tensor
        ``(t, c, y, x)``.
    """
    _check(samples, 3, "samples (t, c, k)", trajectory)
    if samples.shape[2] != trajectory.shape[1]:
        msg = f"NUFFT: {samples.shape[2]} samples a frame, {trajectory.shape[1]} places for them"
        raise ValueError(msg)
    gridded: Tensor = _Adjoint.apply(samples, trajectory, shape)  # type: ignore[no-untyped-call]
    return gridded


def _check(values: Tensor, axes: int, expected: str, trajectory: Tensor) -> None:
    if values.ndim != axes or values.dtype not in _SETTINGS:
        msg = f"NUFFT: expected complex {expected}, got {values.dtype} {tuple(values.shape)}"
        raise ValueError(msg)
    if trajectory.ndim != 3 or trajectory.shape[2] != 2 or len(trajectory) != len(values):
        msg = f"NUFFT: expected ({len(values)}, k, 2) places, got {tuple(trajectory.shape)}"
        raise ValueError(msg)
    if trajectory.requires_grad:
        msg = "NUFFT: no gradient flows to the trajectory; detach it"
        raise ValueError(msg)


# Each is the other's derivative, so that gradients have gradients.


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, series: Tensor, trajectory: Tensor) -> Tensor:
        ctx.save_for_backward(trajectory)
        ctx.shape = tuple(series.shape[-2:])
        return _transform(series, trajectory, ctx.shape, "forward")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (trajectory,) = ctx.saved_tensors
        return adjoint(gradients[0], trajectory, ctx.shape), None


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, samples: Tensor, trajectory: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(trajectory)
        return _transform(samples, trajectory, shape, "adjoint")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (trajectory,) = ctx.saved_tensors
        return forward(gradients[0], trajectory), None, None


def _transform(
    values: Tensor, trajectory: Tensor, shape: tuple[int, int], direction: Direction
) -> Tensor:
    trajectory = trajectory.to(values.real.dtype)
    transform = _by_finufft if values.device.type == "cpu" else _by_products
    return transform(values, trajectory, shape, direction)


def _by_finufft(
    values: Tensor, trajectory: Tensor, shape: tuple[int, int], direction: Direction
) -> Tensor:
    import finufft

    frames, coils = values.shape[:2]
    is_forward = direction == "forward"
    plan = finufft.Plan(
        2 if is_forward else 1,
        shape,
        coils,
        isign=-1 if is_forward else 1,
        dtype=str(values.dtype).removeprefix("torch."),
        nthreads=torch.get_num_threads(),
        **_SETTINGS[values.dtype],
    )
    sizes = trajectory.shape[1:2] if is_forward else shape
    made = torch.empty(frames, coils, *sizes, dtype=values.dtype)
    for places, given, out in zip(trajectory, values.resolve_conj(), made, strict=True):
        y, x = places.T.contiguous().numpy()
        plan.setpts(y, x)
        plan.execute(given.contiguous().numpy(), out=out.numpy())
    return made


def _by_products(
    values: Tensor, trajectory: Tensor, shape: tuple[int, int], direction: Direction
) -> Tensor:
    made = []
    for places, given in zip(trajectory, values, strict=True):
        rows, columns = (
            _waves(places[:, axis], size, direction) for axis, size in enumerate(shape)
        )
        if direction == "forward":
            made.append(torch.einsum("cyk,ky->ck", given @ columns.T, rows))
        else:
            made.append((given[:, None] * rows.T) @ columns)
    return torch.stack(made)


def _waves(places: Tensor, size: int, direction: Direction) -> Tensor:
    """Return the wave of each place over the pixels of one axis, ``(k, size)``."""
    pixels = torch.arange(size, device=places.device, dtype=places.dtype) - size // 2
    phase = places[:, None] * pixels
    return torch.polar(torch.ones_like(phase), -phase if direction == "forward" else phase)
