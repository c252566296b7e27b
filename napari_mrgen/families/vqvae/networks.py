"""Encoder, codebook and decoder, and the priors by their settings.

Slices are ``(n, 1, y, x)``, scaled to about 0..1, codes' vectors as ``(n, d, h, w)`` and
indices of codes as ``(n, h, w)``.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.engine.task import Networks
from napari_mrgen.families.vqvae import published
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.quantization import Codebook, EmaCodebook, GradientCodebook
from napari_mrgen.families.vqvae.transformer import CodeTransformer
from napari_mrgen.nn.unet import ResidualBlock

BRIGHTNESS, CONTRAST = 0.3, 4.0
"""Mean intensity, and the scale that brings intensities to about unit variance."""


def vqvae_networks(config: VqVaeConfig) -> dict[str, nn.Module]:
    """Build the networks of a model file; the configuration holds the shape."""
    return {**autoencoder(config), **prior(config)}


def autoencoder(config: VqVaeConfig) -> dict[str, nn.Module]:
    """Build the networks of the first stage."""
    if config.network == "published":
        size, commitment = config.code_size, config.commitment
        return {
            "encoder": published.Encoder(config.width, size),
            "codebook": GradientCodebook(config.codes, size, commitment=commitment),
            "decoder": published.Decoder(config.width, size),
        }
    codebook = EmaCodebook(config.codes, config.code_size, commitment=config.commitment)
    return {"encoder": Encoder(config), "codebook": codebook, "decoder": Decoder(config)}


def prior(config: VqVaeConfig) -> dict[str, nn.Module]:
    """Build the prior over maps of codes; each kind has its own name."""
    if not config.prior_steps:
        return {}
    if config.prior == "dcgan":
        width = config.prior_width // 2
        return {"generator": published.CodeGenerator(config.side, config.code_size, width)}
    return {"transformer": CodeTransformer(config)}


class Encoder(nn.Module):
    """Encoder from slices to vectors, which the codebook quantises."""

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        widths = _widths(config)
        count = max(1, config.blocks // 2)
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            nn.Conv2d(4, widths[0], 3, padding=1),
            *_blocks(widths[0], count),
        ]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 2, stride=2), *_blocks(after, count)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], config.code_size, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(n, 1, y, x)`` to ``(n, d, y / factor, x / factor)``."""
        return self.layers(CONTRAST * (images - BRIGHTNESS))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Decoder from codes to slices; at full resolution it has few channels."""

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        widths = (*reversed(_widths(config)), max(4, config.width // 4))
        layers: list[nn.Module] = [nn.Conv2d(config.code_size, widths[0], 3, padding=1)]
        for level, width in enumerate(widths):
            if level:
                layers += [nn.Conv2d(widths[level - 1], width, 1), nn.Upsample(scale_factor=2.0)]
            layers += _blocks(width, config.blocks if level < len(widths) - 1 else 1)
        self.layers = nn.Sequential(*layers, nn.SiLU(), nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors).float() / CONTRAST + BRIGHTNESS  # type: ignore[no-any-return]


def encode(networks: Networks, images: Tensor) -> Tensor:
    """Return the indices of the codes ``(n, h, w)`` of slices ``(n, 1, y, x)``."""
    return networks["codebook"](networks["encoder"](images)).indices  # type: ignore[no-any-return]


def decode(networks: Networks, indices: Tensor) -> Tensor:
    """Return the slices ``(n, 1, y, x)``, between 0 and 1, of indices of codes ``(n, h, w)``."""
    images: Tensor = networks["decoder"](codebook(networks).embed(indices))
    return images.clamp(0, 1)


def codebook(networks: Networks) -> Codebook:
    book = networks["codebook"]
    if not isinstance(book, Codebook):
        msg = f"Expected a codebook, got {type(book).__name__}"
        raise TypeError(msg)
    return book


def shade(vectors: Tensor, book: Codebook, factor: int) -> Tensor:
    """Show codes' vectors ``(n, d, h, w)`` as grey slices ``(n, 1, y, x)``.

    The grey is the place along the direction in which the codes differ most, and what is most used,
    the background, is dark. Numbers of codes would be no picture: neighbouring ones are not alike.
    """
    codes = book.codes
    centre = codes.mean(0)
    direction = torch.linalg.svd(codes - centre, full_matrices=False).Vh[0]
    along = (codes - centre) @ direction
    sign = -torch.sign(book.usage @ along)
    low, high = (sign * along).min(), (sign * along).max()
    offset = vectors.float() - centre[:, None, None]
    place = sign * torch.einsum("ndhw,d->nhw", offset, direction)
    grey = ((place - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return functional.interpolate(grey[:, None], scale_factor=float(factor))


def _widths(config: VqVaeConfig) -> tuple[int, ...]:
    """Channels at half, quarter, ... resolution."""
    coarse = config.factor.bit_length() - 2
    return (config.width, *(2 * config.width for _ in range(coarse)))


def _blocks(width: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(width) for _ in range(count)]
