"""Networks: the published U-Nets of series, and an unrolled one with data consistency."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.realtime import AVERAGED_FRAMES, VIEW_SHARED
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.regularizers import regularization_layer
from napari_mrgen.mri import nufft

Kernel = tuple[int, int, int]
"""Size along t, y and x."""

KERNELS: dict[str, tuple[Kernel, Kernel]] = {
    "published": ((3, 3, 3), (3, 3, 3)),
    "unet3d_old": ((3, 3, 3), (3, 3, 3)),
    "unet2d1d": ((1, 3, 3), (3, 1, 1)),
    "unet2d2d": ((3, 1, 3), (3, 3, 1)),
}
"""Kernels of the two convolutions of a level."""
_FOLD = 2


def reconstructor_networks(
    config: ReconstructionConfig, shape: tuple[int, ...]
) -> dict[str, nn.Module]:
    """Build the network; it works at any size, so that ``shape`` is not needed."""
    del shape
    network = Unrolled(config) if config.network == "unrolled" else SeriesUNet(config)
    return {"reconstructor": network}


def input_channels(config: ReconstructionConfig) -> int:
    return len(AVERAGED_FRAMES) + 1 if config.inputs == "view-shared" else 1


def corrected_channel(config: ReconstructionConfig) -> int:
    """Return the input channel to which the network adds its correction."""
    return VIEW_SHARED if config.inputs == "view-shared" else 0


class SeriesUNet(nn.Module):
    """A published U-Net of series: ``(b, c, t, y, x)`` to ``(b, 1, t, y, x)``.

    Only space is pooled, so that any number of frames works; sides are padded to a multiple that
    all levels divide. The last convolution is linear, so that the residual may be negative; in the
    published networks it was rectified.

    References
    ----------
    Hauptmann et al., "Real-time cardiovascular MR with spatio-temporal artifact suppression using
    deep learning", Magn Reson Med 81:1143, 2019; G. Archie, UNet-MRI-Reconstruction, 2020.
    """

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        kernels = KERNELS[config.network]
        is_old = config.network == "unet3d_old"
        widths = [config.width * 2**level for level in range(config.depth)]
        inputs = [input_channels(config), *widths]
        self.base, self.multiple = corrected_channel(config), 2 ** (config.depth - 1)
        self.ways_down = nn.ModuleList(
            DoubleConvolution(a, b, kernels, config) for a, b in pairwise(inputs)
        )
        self.up = nn.ModuleList(
            UpConvolution(b, a, 3 if is_old else 2) for a, b in pairwise(widths)
        )
        self.ways_up = nn.ModuleList(
            DoubleConvolution(2 * width, width, kernels, config) for width in widths[:-1]
        )
        self.head = nn.Conv3d(widths[0], 1, 3, padding=1)

    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        x = pad_to_multiple(inputs, self.multiple)
        skips: list[Tensor] = []
        for level, block in enumerate(self.ways_down):
            x = functional.max_pool3d(x, (1, 2, 2)) if level else x
            x = block(x, generator)
            skips.append(x)
        levels = list(zip(self.up, self.ways_up, skips[:-1], strict=True))
        for up, block, skip in reversed(levels):
            x = block(torch.cat([skip, up(x)], 1), generator)
        change = self.head(x)[..., : inputs.shape[-2], : inputs.shape[-1]]
        return inputs[:, self.base : self.base + 1] + change  # type: ignore[no-any-return]


class DoubleConvolution(nn.Module):
    """Two convolutions, each with regularisation and ReLU; in ``unet3d_old`` after ReLU."""

    def __init__(
        self, inputs: int, width: int, kernels: tuple[Kernel, Kernel], config: ReconstructionConfig
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            _same(a, width, kernel) for a, kernel in zip((inputs, width), kernels, strict=True)
        )
        self.layers = nn.ModuleList(
            regularization_layer(config, width, kernel) for kernel in kernels
        )
        self.is_old = config.network == "unet3d_old"

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        for convolution, regularize in zip(self.convolutions, self.layers, strict=True):
            x = convolution(x)
            if self.is_old:
                x = regularize(functional.relu(x), generator)
            else:
                x = functional.relu(regularize(x, generator))
        return x


class UpConvolution(nn.Module):
    """Double ``y`` and ``x`` by a transposed convolution with ReLU."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        padding, more = (1, (0, 1, 1)) if kernel == 3 else (0, (0, 0, 0))
        self.convolution = nn.ConvTranspose3d(inputs, width, kernel, (1, 2, 2), padding, more)

    def forward(self, x: Tensor) -> Tensor:
        # An even kernel adds one frame.
        return functional.relu(self.convolution(x)[:, :, : x.shape[2]])


class Unrolled(nn.Module):
    """An unrolled network: small networks alternate with data-consistency steps.

    A step moves along the residual ``A^H W (y - A x)`` by a learned length, before each network and
    at the end; the networks get the residual too. The series is real, since its smooth phase is
    part of the maps.

    References
    ----------
    Kofler et al., "An end-to-end-trainable iterative network architecture for accelerated radial
    multi-coil 2D cine MR image reconstruction", Med Phys 48:2412, 2021.
    """

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.base = corrected_channel(config)
        channels = input_channels(config) + 2
        self.correctors = nn.ModuleList(
            Corrector(channels, config.width) for _ in range(config.consistency_steps)
        )
        self.steps = nn.Parameter(torch.zeros(config.consistency_steps + 1))

    def forward(self, inputs: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        inputs
            ``(b, c, t, y, x)``; the first channel is the zero-filled series.
        maps
            Complex, ``(b, coils, y, x)``.
        kernel
            Kernel of `nufft.normal`, ``(b, t, 2y, 2x)``.
        """
        x = inputs[:, self.base : self.base + 1]
        *steps, last = self.steps

        def residual_of(x: Tensor) -> Tensor:
            # Without a gradient, which makes a step cheaper: each network still learns through its
            # own correction.
            return inputs[:, :1] - normal_operator(x.detach().float(), maps, kernel)

        for step, corrector in zip(steps, self.correctors, strict=True):
            residual = residual_of(x)
            x = x + step * residual + corrector(torch.cat([inputs, x, residual], 1))
        series: Tensor = x + last * residual_of(x)
        return series


class Corrector(nn.Module):
    """A residual U-Net of three levels that convolves in space and then in time.

    ``(b, c, t, y, x)`` to ``(b, 1, t, y, x)``. Squares of pixels are first folded into channels,
    since most artefacts are larger than a pixel; that takes a quarter of the time.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        widths = (width, width * 3 // 2, width * 2)
        self.stem = _same(inputs * _FOLD**2, width, (1, 3, 3))
        self.ways_down = nn.ModuleList(SeriesBlock(w) for w in widths)
        self.down = nn.ModuleList(
            nn.Conv3d(a, b, (1, 2, 2), stride=(1, 2, 2)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.ways_up = nn.ModuleList(SeriesBlock(w) for w in widths[:-1])
        self.head = _same(width, _FOLD**2, (1, 3, 3))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.multiple = _FOLD * 2 ** (len(widths) - 1)

    def forward(self, inputs: Tensor) -> Tensor:
        y, x = inputs.shape[-2:]
        skips = [self.ways_down[0](self.stem(folded(pad_to_multiple(inputs, self.multiple))))]
        for down, block in zip(self.down, list(self.ways_down)[1:], strict=True):
            skips.append(block(down(skips[-1])))
        h = skips.pop()
        levels = list(zip(self.up, self.ways_up, skips, strict=True))
        for up, block, skip in reversed(levels):
            h = block(functional.interpolate(up(h), scale_factor=(1.0, 2.0, 2.0)) + skip)
        return unfolded(self.head(h))[..., :y, :x]


class SeriesBlock(nn.Module):
    """Residual convolutions in space, in time and in space; at first the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = _same(width, width, (1, 3, 3))
        self.time = _same(width, width, (3, 1, 1))
        self.out = _same(width, width, (1, 3, 3))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.space(x), inplace=True)
        h = functional.relu(self.time(h), inplace=True)
        return self.out(h).add_(x)  # type: ignore[no-any-return]


def normal_operator(series: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
    """Apply the normal operator ``A^H W A`` to real series ``(b, 1, t, y, x)``."""
    batch = zip(series, maps, kernel, strict=True)
    return torch.stack([nufft.normal_with_coils(x[0], m, k).real for x, m, k in batch])[:, None]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad ``y`` and ``x`` by replication to multiples of ``multiple``."""
    y, w = x.shape[-2:]
    return functional.pad(x, (0, -w % multiple, 0, -y % multiple, 0, 0), mode="replicate")


def folded(x: Tensor) -> Tensor:
    """Fold squares of pixels into channels: ``(b, c, t, y, x)`` to ``(b, 4c, t, y/2, x/2)``."""
    return functional.pixel_unshuffle(x.transpose(1, 2), _FOLD).transpose(1, 2)


def unfolded(x: Tensor) -> Tensor:
    """Undo `folded`."""
    return functional.pixel_shuffle(x.transpose(1, 2), _FOLD).transpose(1, 2)


def _same(inputs: int, width: int, kernel: Sequence[int]) -> nn.Conv3d:
    k = (kernel[0], kernel[1], kernel[2])
    return nn.Conv3d(inputs, width, k, padding=(k[0] // 2, k[1] // 2, k[2] // 2))
