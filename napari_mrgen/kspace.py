"""KSpace: what the coils of a scanner measured, and where in k-space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_mrgen.volume import Source

Samples = npt.NDArray[np.complex64]


@dataclass(frozen=True, eq=False)
class KSpace:
    """Samples frame by frame and slice by slice, and the image that they are of.

    A direction that was encoded in k-space too, across the slices, has been transformed: ``z``
    counts slices.

    Parameters
    ----------
    samples
        On a grid ``(t, z, c, y, x)``, the zero frequency at index ``size // 2``, and zero where
        nothing was measured; along a trajectory ``(t, z, c, k)``.
    shape
        Pixels of the image along y and x. A grid that has more is that of a wider field of view,
        whose middle is the image.
    affine
        (4, 4) float64, from ``(z, y, x)`` indices of the image to scanner millimetres, RAS+.
    trajectory
        float32 ``(t, k, 2)``, radians a pixel, y then x; None where the samples lie on a grid.
    source
        Where it was read from.
    """

    samples: Samples
    shape: tuple[int, int]
    affine: npt.NDArray[np.float64]
    trajectory: npt.NDArray[np.float32] | None = None
    name: str = ""
    subject: str | None = None
    times: tuple[float, ...] | None = None
    source: Source | None = None

    def __post_init__(self) -> None:
        axes = "t z c y x" if self.trajectory is None else "t z c k"
        if self.samples.ndim != len(axes.split()) or self.samples.dtype != np.complex64:
            got = f"{self.samples.dtype} {self.samples.shape}"
            raise ValueError(f"KSpace: expected complex64 samples ({axes}), got {got}")
        if self.trajectory is not None:
            expected = (self.frames, self.samples.shape[3], 2)
            if self.trajectory.shape != expected:
                msg = f"KSpace: expected places {expected}, got {self.trajectory.shape}"
                raise ValueError(msg)
        elif any(
            size < want for size, want in zip(self.samples.shape[3:], self.shape, strict=True)
        ):
            msg = f"KSpace: a grid of {self.samples.shape[3:]} has no image of {self.shape}"
            raise ValueError(msg)
        if self.affine.shape != (4, 4):
            raise ValueError(f"KSpace affine: expected (4, 4), got {self.affine.shape}")
        if self.times is not None and len(self.times) != self.frames:
            raise ValueError(f"KSpace times: expected {self.frames}, got {len(self.times)}")

    @property
    def frames(self) -> int:
        return int(self.samples.shape[0])

    @property
    def slices(self) -> int:
        return int(self.samples.shape[1])

    @property
    def coils(self) -> int:
        return int(self.samples.shape[2])

    @property
    def sampled(self) -> npt.NDArray[np.bool_]:
        """Whether anything was measured there: ``(t, y, x)``, or ``(t, k)`` along a trajectory."""
        return np.asarray((self.samples != 0).any((1, 2)))
