"""The networks: the published U-Nets of series, and one that goes back to the measured data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.realtime import BASE, SHARED
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.regularizers import layer
from napari_mrgen.mri import nufft

Kernel = tuple[int, int, int]
"""Along t, y and x."""

PUBLISHED: dict[str, tuple[Kernel, Kernel]] = {
    "unet3d": ((3, 3, 3), (3, 3, 3)),
    "unet3d_old": ((3, 3, 3), (3, 3, 3)),
    "unet2d1d": ((1, 3, 3), (3, 1, 1)),
    "unet2d2d": ((3, 1, 3), (3, 3, 1)),
}
"""The two convolutions of a level."""
_FOLD = 2


def networks(config: ReconstructionConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """Build the network; it takes series of any size, so ``shape`` does not matter."""
    del shape
    network = Unrolled(config) if config.network == "unrolled" else SeriesUNet(config)
    return {"reconstructor": network}


def input_channels(config: ReconstructionConfig) -> int:
    return len(SHARED) + 1 if config.inputs == "shared" else 1


def base_channel(config: ReconstructionConfig) -> int:
    """Return which channel of the input the network corrects."""
    return BASE if config.inputs == "shared" else 0


class SeriesUNet(nn.Module):
    """A published U-Net of series: ``(b, c, t, y, x)`` to ``(b, 1, t, y, x)``.

    Only space is pooled, so there may be any number of frames; sides are padded to what its levels
    need. The last convolution is linear: what it adds to the input may be negative too, while the
    published networks could only add signal.

    References
    ----------
    Hauptmann et al., "Real-time cardiovascular MR with spatio-temporal artifact suppression using
    deep learning", Magn Reson Med 81:1143, 2019; G. Archie, UNet-MRI-Reconstruction, 2020.
    """

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        kernels = PUBLISHED[config.network]
        is_old = config.network == "unet3d_old"
        widths = [config.width * 2**level for level in range(config.depth)]
        inputs = [input_channels(config), *widths]
        self.base, self.multiple = base_channel(config), 2 ** (config.depth - 1)
        self.ways_down = nn.ModuleList(
            DoubleConvolution(a, b, kernels, config) for a, b in pairwise(inputs)
        )
        self.up = nn.ModuleList(Widening(b, a, 3 if is_old else 2) for a, b in pairwise(widths))
        self.ways_up = nn.ModuleList(
            DoubleConvolution(2 * width, width, kernels, config) for width in widths[:-1]
        )
        self.head = nn.Conv3d(widths[0], 1, 3, padding=1)

    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        x = padded(inputs, self.multiple)
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
    """Two convolutions with ReLU; a regularising layer stands before it, in the old one after."""

    def __init__(
        self, inputs: int, width: int, kernels: tuple[Kernel, Kernel], config: ReconstructionConfig
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            _same(a, width, kernel) for a, kernel in zip((inputs, width), kernels, strict=True)
        )
        self.layers = nn.ModuleList(layer(config, width, kernel) for kernel in kernels)
        self.is_old = config.network == "unet3d_old"

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        for convolution, regularize in zip(self.convolutions, self.layers, strict=True):
            x = convolution(x)
            if self.is_old:
                x = regularize(functional.relu(x), generator)
            else:
                x = functional.relu(regularize(x, generator))
        return x


class Widening(nn.Module):
    """A transposed convolution with ReLU that doubles ``y`` and ``x`` and keeps ``t``."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        padding, more = (1, (0, 1, 1)) if kernel == 3 else (0, (0, 0, 0))
        self.convolution = nn.ConvTranspose3d(inputs, width, kernel, (1, 2, 2), padding, more)

    def forward(self, x: Tensor) -> Tensor:
        # An even kernel makes one frame more.
        return functional.relu(self.convolution(x)[:, :, : x.shape[2]])


class Unrolled(nn.Module):
    """Small networks, and steps towards the measured data before each and at the end.

    A step goes along the residual ``A^H W (y - A x)``, where the image does not agree with the
    samples, as far as it was learned; the networks see the residual too. The series is real, its
    smooth phase a part of the maps.

    References
    ----------
    Kofler et al., "An end-to-end-trainable iterative network architecture for accelerated radial
    multi-coil 2D cine MR image reconstruction", Med Phys 48:2412, 2021.
    """

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.base = base_channel(config)
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
            Of `nufft.normal`, ``(b, t, 2y, 2x)``.
        """
        x = inputs[:, self.base : self.base + 1]
        *steps, last = self.steps

        def missing(x: Tensor) -> Tensor:
            # Without a gradient: what is made of a residual teaches the network before it enough.
            return inputs[:, :1] - resampled(x.detach().float(), maps, kernel)

        for step, corrector in zip(steps, self.correctors, strict=True):
            residual = missing(x)
            x = x + step * residual + corrector(torch.cat([inputs, x, residual], 1))
        made: Tensor = x + last * missing(x)
        return made


class Corrector(nn.Module):
    """A residual U-Net of three levels that convolves in space and then in time.

    ``(b, c, t, y, x)`` to ``(b, 1, t, y, x)``. Squares of pixels are folded into channels first:
    most artefacts are larger than a pixel, and a step costs a quarter.
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
        skips = [self.ways_down[0](self.stem(folded(padded(inputs, self.multiple))))]
        for down, block in zip(self.down, list(self.ways_down)[1:], strict=True):
            skips.append(block(down(skips[-1])))
        h = skips.pop()
        levels = list(zip(self.up, self.ways_up, skips, strict=True))
        for up, block, skip in reversed(levels):
            h = block(functional.interpolate(up(h), scale_factor=(1.0, 2.0, 2.0)) + skip)
        return unfolded(self.head(h))[..., :y, :x]


class SeriesBlock(nn.Module):
    """Convolve in space, then in time, beside an identity; at first it passes its input on."""

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


def resampled(series: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
    """Scan real series ``(b, 1, t, y, x)`` and grid them again: what the measured data would be."""
    made = [
        nufft.normal_with_coils(one[0], seen, spread).real
        for one, seen, spread in zip(series, maps, kernel, strict=True)
    ]
    return torch.stack(made)[:, None]


def padded(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last rows and columns until ``y`` and ``x`` are multiples."""
    y, w = x.shape[-2:]
    return functional.pad(x, (0, -w % multiple, 0, -y % multiple, 0, 0), mode="replicate")


def folded(x: Tensor) -> Tensor:
    """Lay squares of pixels into channels: ``(b, c, t, y, x)`` to ``(b, 4c, t, y/2, x/2)``."""
    return functional.pixel_unshuffle(x.transpose(1, 2), _FOLD).transpose(1, 2)


def unfolded(x: Tensor) -> Tensor:
    """Undo `folded`."""
    return functional.pixel_shuffle(x.transpose(1, 2), _FOLD).transpose(1, 2)


def _same(inputs: int, width: int, kernel: Sequence[int]) -> nn.Conv3d:
    k = (kernel[0], kernel[1], kernel[2])
    return nn.Conv3d(inputs, width, k, padding=(k[0] // 2, k[1] // 2, k[2] // 2))
