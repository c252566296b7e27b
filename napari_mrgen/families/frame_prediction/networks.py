"""Networks that predict the next frames from context frames, and their roll-out.

Frames are ``(b, t, z, y, x)``. Intensities are scaled to about 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.published import SimpleDiscriminator, SimpleUGen
from napari_mrgen.nn.discriminators import PatchDiscriminator
from napari_mrgen.nn.noise import randn_like
from napari_mrgen.nn.unet import Decoder, Encoder

BRIGHTNESS, CONTRAST, CHANGE = 0.3, 4.0, 10.0
"""Mean intensity, and the scales that bring intensities and their changes to about unit
variance."""
FLOW_UNIT = 4.0
"""Displacement in pixels of an output of 1: hearts move some pixels a frame."""
TIMING_FEATURES = 10


def predictor_networks(
    config: FramePredictionConfig, shape: tuple[int, ...]
) -> dict[str, nn.Module]:
    """Build the networks of a model file; ``shape`` is not needed, since any size works."""
    del shape
    if config.network == "published":
        return {"generator": SimpleUGen(config.context, config.noise)}
    return {"generator": FlowPredictor(config), "texture": Texture(config)}


def predictor_discriminator(config: FramePredictionConfig) -> nn.Module:
    if config.network == "published":
        return SimpleDiscriminator(config.context + 1)
    return FrameDiscriminator(config)


class FlowPredictor(nn.Module):
    """Predict the next frames as the last real frame, warped by a displacement, plus a residual.

    All slices of a volume have the same cardiac phase: features averaged over them, with that phase
    where it is known, modulate the decoder. Warping a real frame keeps its edges at any horizon.
    """

    multiple = (1, 16, 16)
    """Sizes of ``z, y, x`` must be multiples of these."""
    knows_cycle = True
    knows_mirrors = True

    def __init__(self, config: FramePredictionConfig) -> None:
        super().__init__()
        self.context, self.count = config.context, config.frames_per_pass
        self.input_frames = max(self.context, self.count)
        widths = [config.width * factor for factor in (1, 2, 3, 4)]
        width = 4 * config.width
        self.encoder = Encoder(4 * (self.context + self.input_frames), widths)
        self.decoder = Decoder(widths, width, 6 * self.count)
        self.timing = _perceptron(TIMING_FEATURES, width)
        self.volume = _perceptron(widths[-1], width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(
        self,
        context: Tensor,
        recent: Tensor,
        lead: Tensor,
        cycle: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Predict ``count`` frames.

        Parameters
        ----------
        context
            ``(b, context, z, y, x)``, real frames.
        recent
            ``(b, input_frames, z, y, x)``, the frames just before the predicted ones.
        lead
            ``(b,)``, frames between the context and the predicted ones.
        cycle
            ``(b,)``, frames in a cardiac cycle, 0 where unknown.
        generator
            Not used: samples of a prediction come from noise on the context.
        """
        del generator
        output = self._half_resolution(context, recent, lead, cycle)
        last = _fold(context[:, -1:]).expand(-1, self.count, -1, -1)
        residual = functional.pixel_shuffle(output[:, 2 * self.count :], 2) / CHANGE
        slices = warp(last, self._flow(output)) + residual
        return slices.reshape(-1, context.shape[2], *slices.shape[1:]).transpose(1, 2)

    def displacement(self, context: Tensor, recent: Tensor, lead: Tensor, cycle: Tensor) -> Tensor:
        """Return the displacement of each pixel of the predicted frames in the last real frame.

        In pixels, along x, then y: ``(b z, count, 2, y, x)``.
        """
        return self._flow(self._half_resolution(context, recent, lead, cycle))

    def _half_resolution(
        self, context: Tensor, recent: Tensor, lead: Tensor, cycle: Tensor
    ) -> Tensor:
        """Return flow and residual at half resolution, ``(b z, 6 count, y / 2, x / 2)``."""
        slices = context.shape[2]
        frames, last = _fold(context), _fold(context[:, -1:])
        change = torch.cat([frames[:, :-1], _fold(recent)], 1) - last
        inputs = torch.cat([CONTRAST * (last - BRIGHTNESS), CHANGE * change], 1)
        features = self.encoder(functional.pixel_unshuffle(inputs, 2))
        deepest = features[-1].mean((2, 3))
        volume = deepest.view(-1, slices, deepest.shape[1]).mean(1)
        modulation = self.mix(self.timing(timing_features(lead, cycle)) + self.volume(volume))
        # Not repeat_interleave, which the ONNX exporter fixes to the number of slices.
        modulation = modulation[:, None].expand(-1, slices, -1).flatten(0, 1)
        return self.decoder(features, modulation).float()  # type: ignore[no-any-return]

    def _flow(self, output: Tensor) -> Tensor:
        coarse = output[:, : 2 * self.count]
        flow = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        displacement: Tensor = flow.unflatten(1, (self.count, 2))  # type: ignore[no-untyped-call]
        return FLOW_UNIT * displacement


class Texture(nn.Module):
    """Add to predicted frames the fine texture that the mean over possible predictions lacks.

    The input is the prediction, the last real frame and noise; the added texture starts at zero.
    """

    def __init__(self, config: FramePredictionConfig) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.Sequential(
            nn.Conv2d(16, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
        )
        self.head = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, prediction: Tensor, last: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return ``prediction`` ``(b, t, z, y, x)`` with texture; ``last`` is ``(b, 1, z, y, x)``.

        Without a generator there is no noise, and the texture is the same at each call.
        """
        frames = prediction.flatten(0, 2)[:, None]
        real = last.expand_as(prediction).flatten(0, 2)[:, None]
        noise = torch.zeros_like(frames) if generator is None else randn_like(frames, generator)
        detail = frames - functional.avg_pool2d(frames, 3, 1, 1, count_include_pad=False)
        image, change = CONTRAST * (frames - BRIGHTNESS), CHANGE * (frames - real)
        inputs = torch.cat([image, change, CHANGE * detail, noise], 1)
        features = self.layers(functional.pixel_unshuffle(inputs, 2))
        texture = functional.pixel_shuffle(self.head(features).float(), 2)
        return prediction + texture.view_as(prediction) / CHANGE


class FrameDiscriminator(nn.Module):
    """Patch discriminator of the context frames and those that follow, slice by slice."""

    def __init__(self, config: FramePredictionConfig) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(config.context + config.frames_per_pass)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits of ``(b, t, z, y, x)``: context and predicted frames."""
        return self.patches(CONTRAST * (_fold(frames) - BRIGHTNESS))  # type: ignore[no-any-return]


def timing_features(lead: Tensor, cycle: Tensor) -> Tensor:
    """Encode the phase of the predicted frames in the cardiac cycle, and its rate: ``(b, 10)``."""
    is_known = (cycle > 0).float()
    length = torch.where(cycle > 0, cycle, torch.ones_like(cycle))
    angle, rate = 2 * math.pi * lead / length, 10 * math.pi / length
    features = [
        torch.sin(angle), torch.cos(angle), torch.sin(2 * angle), torch.cos(2 * angle),
        lead / length, 10 / length, torch.sin(rate), torch.cos(rate),
    ]  # fmt: skip
    return torch.stack([lead / 10, is_known, *(is_known * feature for feature in features)], 1)


def roll_out(
    network: nn.Module,
    context: Tensor,
    lead: Tensor,
    cycle: Tensor,
    generator: torch.Generator | None = None,
) -> Generator[Tensor, Tensor | None, None]:
    """Yield pass after pass of predicted frames ``(b, t, z, y, x)``, without end.

    Each pass gets the frames of the pass before. A caller may send other frames in their place, for
    instance detached ones, to stop the gradient.
    """
    count = int(getattr(network, "input_frames", context.shape[1]))
    recent = last_frames(context, count)
    while True:
        frames = network(context, recent, lead, cycle, generator)
        feedback = yield frames
        lead = lead + frames.shape[1]
        recent = torch.cat([recent, frames if feedback is None else feedback], 1)[:, -count:]


def last_frames(frames: Tensor, count: int) -> Tensor:
    """Return the last of ``(b, t, z, y, x)``; the first is repeated where there are too few."""
    missing = max(0, count - frames.shape[1])
    return torch.cat([frames[:, :1]] * missing + [frames], 1)[:, -count:]


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample an image at each pixel plus its displacement; edges are repeated.

    Parameters
    ----------
    images
        ``(n, c, y, x)``.
    flow
        ``(n, c, 2, y, x)``, displacement along x, then y, in pixels, for each channel its own.
    """
    n, c, height, width = images.shape
    pixel = torch.tensor([2 / width, 2 / height], device=flow.device)
    # Pixel centres, from -1 to 1 between the outer edges.
    y, x = ((torch.arange(n, device=flow.device) + 0.5) / n * 2 - 1 for n in (height, width))
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    # In float32: bfloat16 does not resolve neighbouring pixels of a wide image.
    grid = centres + flow.float().permute(0, 1, 3, 4, 2) * pixel
    warped = functional.grid_sample(
        images.float().reshape(n * c, 1, height, width),
        grid.reshape(n * c, height, width, 2),
        padding_mode="border",
        align_corners=False,
    )
    return warped.view(n, c, height, width)


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.SiLU(), nn.Linear(outputs, outputs))


def _fold(frames: Tensor) -> Tensor:
    """Turn ``(b, t, z, y, x)`` into slices with frames as channels: ``(b z, t, y, x)``."""
    return frames.transpose(1, 2).flatten(0, 1)
