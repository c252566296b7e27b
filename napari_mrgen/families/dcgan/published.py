"""The published DCGAN (Shri_GAN): dense layer, three transposed convolutions, tanh."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.nn.noise import dropout

SLOPE = 0.3
"""Negative slope of the leaky ReLUs."""
DROPOUT = 0.3
"""Dropout probability in the discriminator."""
_COARSE = 8
"""Ratio of the width of images to that of the coarsest features."""
_MOMENTUM, _EPSILON = 0.01, 1e-3
"""Settings of batch normalisation: TensorFlow's defaults, in PyTorch's terms."""


class PublishedGenerator(nn.Module):
    """Unconditional generator of slices; 7,842,112 weights at 128 x 128 pixels.

    References
    ----------
    Radford et al., "Unsupervised representation learning with deep convolutional generative
    adversarial networks", ICLR 2016.
    """

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.latent, self.start = config.latent, config.size // _COARSE
        size = 256 * self.start**2
        self.dense = nn.Linear(config.latent, size, bias=False)
        self.norms = nn.ModuleList(
            [
                nn.BatchNorm1d(size, _EPSILON, _MOMENTUM),
                nn.BatchNorm2d(128, _EPSILON, _MOMENTUM),
                nn.BatchNorm2d(64, _EPSILON, _MOMENTUM),
            ]
        )
        self.layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(256, 128, 5, 1, 2, bias=False),
                nn.ConvTranspose2d(128, 64, 5, 2, 2, output_padding=1, bias=False),
                nn.ConvTranspose2d(64, 1, 5, 4, 1, output_padding=1, bias=False),
            ]
        )
        _start_as_keras(self)

    def forward(self, noise: Tensor, conditions: Tensor, size: int) -> Tensor:
        """Return slices ``(n, 1, y, x)`` of noise ``(n, latent)``; conditions are ignored."""
        del conditions, size
        x = functional.leaky_relu(self.norms[0](self.dense(noise)), SLOPE)
        x = x.view(len(noise), 256, self.start, self.start)
        for layer, norm in zip(self.layers, list(self.norms)[1:], strict=False):
            x = functional.leaky_relu(norm(layer(x)), SLOPE)
        return (torch.tanh(self.layers[2](x)) + 1) / 2


class PublishedDiscriminator(nn.Module):
    """Discriminator of two strided convolutions and a dense layer; 337,665 weights at 128 x 128."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv2d(1, 64, 5, 2, 2), nn.Conv2d(64, 128, 5, 2, 2)],
        )
        self.logit = nn.Linear(128 * (config.size // 4) ** 2, 1)
        _start_as_keras(self)

    def forward(
        self, images: Tensor, conditions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return logits ``(n,)`` of images ``(n, 1, y, x)``; with a generator, with dropout."""
        del conditions
        x = 2 * images - 1
        for layer in self.layers:
            x = dropout(functional.leaky_relu(layer(x), SLOPE), DROPOUT, generator)
        return self.logit(x.flatten(1))[:, 0]  # type: ignore[no-any-return]


def _start_as_keras(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
