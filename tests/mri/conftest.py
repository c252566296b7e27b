"""Small series and trajectories for the physics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_mrgen.mri.trajectories import radial
from napari_mrgen.samples import beating_heart

Draw = Callable[..., torch.Tensor]


@pytest.fixture
def draw() -> Draw:
    """Draw complex values of a shape, the same in each test: ``draw(2, 3, dtype=...)``."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
        return torch.randn(shape, dtype=dtype, generator=generator)

    return drawn


@pytest.fixture(scope="session")
def heart() -> torch.Tensor:
    """A beating phantom, ``(t, y, x)`` with values of 0 to 1."""
    cine, _labels = beating_heart(1, frames=5, slices=1, size=64)
    frames = torch.from_numpy(cine.array[:, 0].astype("float32"))
    return frames / frames.max()


@pytest.fixture
def spokes() -> torch.Tensor:
    """Three frames of five spokes, in double precision."""
    return radial(3, 5, 40, angle="tiny golden").double()
