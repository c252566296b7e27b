"""Intensity scaling: fitted on a series, saved with the model, inverted on output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

PERCENTILE = 99.5
_AT_MOST = 2_000_000


@dataclass(frozen=True)
class Scaling:
    """Maps ``offset`` to 0 and ``offset + scale`` to 1; values outside are kept, not clipped.

    Examples
    --------
    >>> scaling = Scaling(offset=0.0, scale=200.0)
    >>> scaling.apply(np.array([0, 100, 300])).tolist()
    [0.0, 0.5, 1.5]
    >>> scaling.invert(np.array([0.5])).tolist()
    [100.0]
    """

    offset: float
    scale: float

    @classmethod
    def fit(cls, values: npt.NDArray[Any], percentile: float = PERCENTILE) -> Self:
        """Take the percentile as 1 and 0 as 0; where there are negative values, the minimum as 0.

        Of large arrays an even subsample is used.
        """
        flat = values.reshape(-1)[:: max(1, values.size // _AT_MOST)]
        finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
        if finite.size == 0:
            return cls(0.0, 1.0)
        offset = min(0.0, float(finite.min()))
        top = float(np.percentile(finite, percentile))
        # A series that is almost all background needs a scale, too.
        top = top if top > offset else float(finite.max())
        return cls(offset, top - offset if top > offset else 1.0)

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scale; what is not finite becomes 0."""
        scaled = (values.astype(np.float32) - np.float32(self.offset)) / np.float32(self.scale)
        scaled[~np.isfinite(scaled)] = 0
        return scaled

    def invert(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return values.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)


def as_type(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values as their source stores its own, whole numbers rounded and within its limits."""
    if dtype.kind not in "iu":
        return array.astype(dtype)
    limits = np.iinfo(dtype)
    whole: npt.NDArray[Any] = np.rint(array).clip(limits.min, limits.max).astype(dtype)
    return whole
