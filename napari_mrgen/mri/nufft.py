"""The non-uniform Fourier transform (NUFFT) between coil images and samples anywhere in k-space.

Neither direction is normalised: ``sample = sum over pixels of image * exp(-i k·r)``, where ``r``
counts pixels from the centre, index ``size // 2``. So a sample at k = 0 is the sum of the image.

On a CPU finufft computes it (Barnett et al., SIAM J Sci Comput 41:C479, 2019), to an error of about
2e-5 in single and 1e-12 in double precision; `adjoint` is the adjoint of `forward` to rounding. On
other devices it is the sum itself, written as matrix products: what a GPU does best.

The normal operator ``A^H W A`` is a convolution with the point spread function, so a pair of FFTs
of twice the size computes it without leaving the grid, several times faster than sampling and
gridding (Fessler et al., IEEE Trans Signal Process 53:3393, 2005).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from napari_mrgen.mri import coils

_SETTINGS = {
    # The samples of a few spokes are sparse, so the FFTs take the time, and a smaller grid is four
    # times faster. The tolerance is what that grid reaches; single precision rounds beyond it.
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

    Examples
    --------
    >>> from napari_mrgen.mri.trajectories import radial
    >>> series = torch.ones(1, 1, 8, 8, dtype=torch.complex64)
    >>> samples = forward(series, radial(frames=1, spokes=3, samples=16))
    >>> samples.shape
    torch.Size([1, 1, 48])
    >>> round(samples[0, 0, 8].real.item(), 2)  # at k = 0: the sum of the image
    64.0
    """
    _check(series, 4, "series (t, c, y, x)", trajectory)
    sampled: Tensor = _Forward.apply(series, trajectory)  # type: ignore[no-untyped-call]
    return sampled


def adjoint(samples: Tensor, trajectory: Tensor, shape: tuple[int, int]) -> Tensor:
    """Apply the adjoint of `forward`, which is not its inverse.

    Parameters
    ----------
    samples
        Complex, ``(t, c, k)``; multiplied by density-compensation weights
        (`gridding.radial_weights`) it gives images of the right scale.
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
        msg = f"NUFFT: {samples.shape[2]} samples a frame, {trajectory.shape[1]} positions for them"
        raise ValueError(msg)
    gridded: Tensor = _Adjoint.apply(samples, trajectory, shape)  # type: ignore[no-untyped-call]
    return gridded


def _check(values: Tensor, axes: int, expected: str, trajectory: Tensor) -> None:
    if values.ndim != axes or values.dtype not in _SETTINGS:
        msg = f"NUFFT: expected complex {expected}, got {values.dtype} {tuple(values.shape)}"
        raise ValueError(msg)
    if trajectory.ndim != 3 or trajectory.shape[2] != 2 or len(trajectory) != len(values):
        msg = f"NUFFT: expected ({len(values)}, k, 2) positions, got {tuple(trajectory.shape)}"
        raise ValueError(msg)
    if trajectory.requires_grad:
        msg = "NUFFT: no gradient flows to the trajectory; detach it"
        raise ValueError(msg)


def toeplitz_kernel(trajectory: Tensor, weights: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the spectrum by which `normal` multiplies, for images of ``shape``.

    Parameters
    ----------
    trajectory
        ``(t, k, 2)``.
    weights
        Real, ``(t, k)``: W, one for each sample.

    Returns
    -------
    Tensor
        Real, ``(t, 2y, 2x)``.
    """
    y, x = shape
    complex_weights = torch.complex(weights, torch.zeros_like(weights))[:, None]
    spread = adjoint(complex_weights, trajectory, (2 * y, 2 * x))[:, 0]
    # Pixels are at most size - 1 apart; without the first row and column the function is Hermitian,
    # and its transform real.
    inner = torch.zeros_like(spread)
    inner[:, 1:, 1:] = spread[:, 1:, 1:]
    spectrum: Tensor = torch.fft.fft2(torch.fft.ifftshift(inner, (-2, -1)))
    return spectrum.real


def normal(series: Tensor, kernel: Tensor) -> Tensor:
    """Apply A^H W A to coil images ``(t, c, y, x)``, as ``adjoint(weights * forward(series))``.

    ``kernel`` is that of `toeplitz_kernel`.
    """
    y, x = series.shape[-2:]
    spectrum = torch.fft.fft2(series, (2 * y, 2 * x)) * kernel[:, None]
    result: Tensor = torch.fft.ifft2(spectrum)[..., :y, :x]
    return result


def normal_with_coils(series: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
    """Apply C^H A^H W A C to images ``(t, y, x)``: expanded to coils with ``maps``, and combined.

    On a CPU this goes frame by frame, as the coil images of one frame fit into its cache: five
    times faster.
    """
    chunk = 1 if series.device.type == "cpu" else len(series)
    frames = zip(torch.split(series, chunk), torch.split(kernel, chunk), strict=True)
    return torch.cat(
        [
            coils.combine(normal(coils.expand(images, maps), spectrum), maps)
            for images, spectrum in frames
        ]
    )


# Each is the derivative of the other, so that second derivatives exist.


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

    frames, coil_count = values.shape[:2]
    is_forward = direction == "forward"
    plan = finufft.Plan(
        2 if is_forward else 1,
        shape,
        coil_count,
        isign=-1 if is_forward else 1,
        dtype=str(values.dtype).removeprefix("torch."),
        nthreads=torch.get_num_threads(),
        **_SETTINGS[values.dtype],
    )
    sizes = trajectory.shape[1:2] if is_forward else shape
    result = torch.empty(frames, coil_count, *sizes, dtype=values.dtype)
    for positions, source, out in zip(trajectory, values.resolve_conj(), result, strict=True):
        y, x = positions.T.contiguous().numpy()
        plan.setpts(y, x)
        plan.execute(source.contiguous().numpy(), out=out.numpy())
    return result


def _by_products(
    values: Tensor, trajectory: Tensor, shape: tuple[int, int], direction: Direction
) -> Tensor:
    frames = []
    for positions, source in zip(trajectory, values, strict=True):
        rows, columns = (
            _waves(positions[:, axis], size, direction) for axis, size in enumerate(shape)
        )
        if direction == "forward":
            frames.append(torch.einsum("cyk,ky->ck", source @ columns.T, rows))
        else:
            frames.append((source[:, None] * rows.T) @ columns)
    return torch.stack(frames)


def _waves(positions: Tensor, size: int, direction: Direction) -> Tensor:
    """Return the wave of each k-space position over the pixels of one axis, ``(k, size)``."""
    pixels = torch.arange(size, device=positions.device, dtype=positions.dtype) - size // 2
    phase = positions[:, None] * pixels
    return torch.polar(torch.ones_like(phase), -phase if direction == "forward" else phase)
