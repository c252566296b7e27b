"""Regularisation: penalties on the weights, and layers after each convolution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.nn.noise import dropout

PENALTIES = ("l1", "l2", "l1_l2")


class RegularizationLayer(nn.Module):
    """The layer after a convolution of ``(b, c, t, y, x)``; this one is the identity."""

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Regularise; random layers are the identity without a ``generator``."""
        del generator
        return x


class Normalized(RegularizationLayer):
    """Batch or instance normalisation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        del generator
        return self.norm(x)  # type: ignore[no-any-return]


class Dropout(RegularizationLayer):
    """Set single values to 0 (Srivastava et al., JMLR 15:1929, 2014)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return dropout(x, self.rate, generator)


class DropBlock(RegularizationLayer):
    """Set blocks to 0, along the axes of the preceding convolution.

    References
    ----------
    Ghiasi et al., "DropBlock: a regularization method for convolutional networks", NeurIPS 2018.
    """

    def __init__(self, rate: float, size: int, axes: Sequence[bool]) -> None:
        super().__init__()
        self.rate, self.size, self.axes = rate, size, tuple(axes)

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or self.rate == 0:
            return x
        # Odd sides, not larger than the image, so that a block has a centre.
        sides = [
            min(self.size, n) - (min(self.size, n) + 1) % 2 if is_convolved else 1
            for n, is_convolved in zip(x.shape[2:], self.axes, strict=True)
        ]
        volume = sides[0] * sides[1] * sides[2]
        uniform = torch.rand(x.shape, generator=generator, device=generator.device)
        centres = (uniform < self.rate / volume).to(x)
        mask = 1 - functional.max_pool3d(centres, sides, 1, [side // 2 for side in sides])
        return x * mask / mask.mean().clamp(min=1e-6)


def regularization_layer(
    config: ReconstructionConfig, width: int, kernel: Sequence[int]
) -> RegularizationLayer:
    """Return the layer that follows a convolution with this ``kernel``, ``(t, y, x)``."""
    axes = [side > 1 for side in kernel]
    match config.regularizer:
        case "batch_norm":
            return Normalized(nn.BatchNorm3d(width))
        case "instance_norm":
            return Normalized(nn.InstanceNorm3d(width, affine=True))
        case "dropout":
            return Dropout(config.drop_rate)
        case "dropblock" if sum(axes) > 1:  # As published, not after a convolution in time.
            return DropBlock(config.drop_rate, config.block_size, axes)
    return RegularizationLayer()


def weight_penalty(config: ReconstructionConfig, parameters: Iterable[Tensor]) -> Tensor | float:
    """Return the penalty on the kernels, weighted; biases are not penalised.

    Examples
    --------
    >>> config = ReconstructionConfig(regularizer="l2", penalty=0.1)
    >>> round(float(weight_penalty(config, [torch.ones(2, 3), torch.ones(2)])), 3)
    0.6
    """
    if config.regularizer not in PENALTIES:
        return 0.0
    kernels = [p for p in parameters if p.ndim > 1]
    sizes = []
    if "l1" in config.regularizer:
        sizes += [kernel.abs().sum() for kernel in kernels]
    if "l2" in config.regularizer:
        sizes += [kernel.square().sum() for kernel in kernels]
    return config.penalty * torch.stack(sizes).sum()
