"""Sampling of new slices, and reconstruction or completion of those of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.scaling import as_type
from napari_mrgen.data.slice_volumes import blocks, sample_conditions, sample_levels, sampled_volume
from napari_mrgen.data.slices import Placement, SliceSpec, condition_vectors, slices_of
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.vqvae.config import VqVaeConfig, VqVaeGenerateConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode
from napari_mrgen.families.vqvae.published import NOISE
from napari_mrgen.volume import Source, Volume

PLANES = ("axial", "coronal", "sagittal")
"""Planes by the axis of ``zyx`` that is perpendicular to them."""
TOGETHER = {"cpu": 8, "cuda": 64}
"""Slices in a batch by device, always as many: sums in batches of another size differ in their last
digit, and a result must not depend on how many are asked for."""
_REACH = (3, 7, 15, 31, 63, 127, 255)
"""Widths in pixels of the neighbourhoods from which masked pixels are filled in, in turn."""
CHOICE_TEMPERATURE = 4.5
"""Randomness in the choice of the codes that are kept; it falls to 0 with the last iteration."""


def generate_slices(
    networks: Networks,
    trained: VqVaeConfig,
    config: VqVaeGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield samples in blocks; or a reconstruction, its codes and its error; or a completion.

    Every sample has its own random stream, which follows from the seed, so ``generator`` is not
    used.
    """
    del generator
    task = _task(config, inputs)
    if task == "reconstruct":
        yield from _reconstruct(networks, trained, inputs["image"])
        return
    _check_prior(networks, task)
    if task == "complete":
        yield from _complete(networks, trained, config, inputs)
        return
    for indices in blocks(config.samples):
        images, columns = sample_slices(networks, trained, config, indices)
        samples = {"index": list(indices), **columns}
        yield sampled_volume(images, data, "vqvae samples", samples=samples)


def sample_slices(
    networks: Networks, trained: VqVaeConfig, config: VqVaeGenerateConfig, indices: range
) -> tuple[Tensor, dict[str, Any]]:
    """Sample slices ``(n, y, x)`` by their indices, and return their conditions as a table."""
    age, sex = config.age, None if config.sex == "any" else config.sex
    _, columns = sample_conditions(sample_levels(indices, config.level), age, sex)
    batches, device = [], _device(networks)
    size = TOGETHER[device.type]
    for start in range(indices.start // size * size, indices.stop, size):
        chunk = range(start, start + size)
        conditions, _ = sample_conditions(sample_levels(chunk, config.level), age, sex)
        codes = sample_codes(
            networks,
            conditions.to(device),
            [Draws((config.seed, "sample", index)) for index in chunk],
            trained.side,
            config.decoding_steps,
            config.temperature,
        )
        is_asked = [index in indices for index in chunk]
        batches.append(decode(networks, codes)[is_asked, 0].cpu())
    return torch.cat(batches), columns


def _task(config: VqVaeGenerateConfig, inputs: Mapping[str, Volume]) -> str:
    task: str = config.task
    if task == "auto":
        with_image = "complete" if "mask" in inputs else "reconstruct"
        task = with_image if inputs else "sample"
    needs = {"reconstruct": ("image",), "complete": ("image", "mask")}.get(task, ())
    for role in needs:
        if role not in inputs:
            msg = f"The input {role!r} is missing: it is needed to {task}."
            raise MrgenError(msg)
    return task


def _check_prior(networks: Networks, task: str) -> None:
    if not {"transformer", "generator"}.intersection(networks):
        msg = (
            "This model has no prior over its codes: it can only reconstruct; train stage 'prior'."
        )
        raise MrgenError(msg)
    if task == "complete" and "transformer" not in networks:
        msg = "The DCGAN prior samples whole maps and cannot complete; train the transformer prior."
        raise MrgenError(msg)


def _reconstruct(networks: Networks, trained: VqVaeConfig, volume: Volume) -> Iterator[Volume]:
    images, placement = slices_of(volume, SliceSpec.of(trained, shift=0))
    codes = _by_parts(lambda part: encode(networks, part[:, None]), images.to(_device(networks)))
    reconstruction = _by_parts(lambda part: decode(networks, part)[:, 0], codes)
    name = volume.name or "image"
    result = placement.back(reconstruction, name=f"{name} reconstructed")
    yield result
    yield code_map(codes, placement, trained.factor, f"{name} codes")
    error = np.abs(result.array - volume.array.astype(np.float32))
    yield volume.with_array(error, name=f"{name} absolute error")


def _complete(
    networks: Networks,
    trained: VqVaeConfig,
    config: VqVaeGenerateConfig,
    inputs: Mapping[str, Volume],
) -> Iterator[Volume]:
    """Sample the masked part, slice by slice; everything else stays, to the last bit."""
    volume, mask = inputs["image"], inputs["mask"]
    marked = mask.array > 0
    if marked.shape != volume.array.shape:
        msg = f"The mask has the shape {marked.shape}; expected the image's, {volume.array.shape}."
        raise MrgenError(msg)
    if not marked.any():
        msg = "Nothing is marked in the mask; mark the part of the image to complete."
        raise MrgenError(msg)
    images, placement = slices_of(volume, SliceSpec.of(trained, shift=0))
    as_labels = volume.with_array(marked.astype(np.uint8), kind="labels")
    masks = slices_of(as_labels, SliceSpec.of(trained, shift=0))[0] > 0
    conditions, device = condition_vectors(placement.levels, volume.participant), _device(networks)
    results = []
    for sample in range(config.samples):
        completed = images.clone()
        for index in masks.flatten(1).any(1).nonzero()[:, 0].tolist():
            one = slice(index, index + 1)
            image, marks, known = (part[one].to(device) for part in (images, masks, conditions))
            draws = [Draws((config.seed, "complete", sample, index))]
            completed[one] = complete_slices(
                networks, image, marks, known, draws, config.decoding_steps, config.temperature
            )
        values = as_type(placement.back(completed).array, volume.array.dtype)
        results.append(np.where(marked, values, volume.array))
    axes, array = ("zyx", results[0]) if config.samples == 1 else ("nzyx", np.stack(results))
    yield volume.with_array(array, axes, name=f"{volume.name or 'image'} completed")


def code_map(codes: Tensor, placement: Placement, factor: int, name: str) -> Volume:
    """Return codes ``(n, h, w)`` as labels from 1 on, one voxel each, on the source's geometry."""
    axis = PLANES.index(placement.spec.plane)
    array = np.moveaxis(codes.cpu().numpy().astype(np.int32) + 1, 0, axis)
    to_source = np.eye(4)
    sides = [side for side in range(3) if side != axis]
    for side, shown in zip(sides, placement.shown, strict=True):
        pixel = placement.volume.array.shape[side] / shown
        border = (placement.spec.size - shown) // 2
        to_source[side, side] = factor * pixel
        to_source[side, 3] = (factor / 2 - border) * pixel - 0.5
    affine = placement.volume.affine @ to_source
    volume = placement.volume
    # The stored form of the source's grid does not apply to this one.
    source = None if volume.spacing_known else Source(spacing_known=False)
    return volume.with_array(array, affine=affine, kind="labels", name=name, source=source)


def _by_parts(work: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply ``work`` in batches that are always of the same size: the last one is padded."""
    size = TOGETHER[images.device.type]
    parts = (
        work(functional.pad(part, (0, 0, 0, 0, 0, size - len(part))))[: len(part)]
        for part in torch.split(images, size)
    )
    return torch.cat(list(parts))


def _device(networks: Networks) -> torch.device:
    return device_of(networks["encoder"])


# ---- maps of codes -------------------------------------------------------------------------------


def sample_codes(
    networks: Networks,
    conditions: Tensor,
    draws: Sequence[Draws],
    side: int,
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Sample maps ``(n, side, side)`` with conditions ``(n, 4)``, each from its own stream."""
    if "transformer" in networks:
        size = (len(conditions), side, side)
        indices = torch.zeros(size, dtype=torch.long, device=conditions.device)
        hidden = torch.ones(size, dtype=torch.bool, device=conditions.device)
        return fill_codes(networks, indices, hidden, conditions, draws, steps, temperature)
    noise = torch.stack([_normal(draw, temperature) for draw in draws]).to(conditions)
    book = codebook(networks)
    return book(networks["generator"](noise, conditions)).indices  # type: ignore[no-any-return]


def fill_codes(
    networks: Networks,
    indices: Tensor,
    hidden: Tensor,
    conditions: Tensor,
    draws: Sequence[Draws],
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Sample the ``hidden`` codes of maps ``(n, h, w)``, given the others.

    Each iteration keeps the codes of which the transformer is most confident, with some randomness;
    few at first, more as more are known (Chang et al., "MaskGIT", CVPR 2022).
    """
    transformer, codes = networks["transformer"], codebook(networks).codes
    total = hidden.flatten(1).sum(1)
    for step in range(steps):
        logits = transformer(indices, hidden, conditions, codes)
        size = (2, *logits.shape[2:])
        noise = torch.stack([torch.rand(size, generator=draw("codes", step)) for draw in draws])
        which, chance = noise.to(logits).unbind(1)
        chosen = _pick((logits / temperature).softmax(1), which)
        indices = torch.where(hidden, chosen, indices)
        confidence = logits.log_softmax(1).gather(1, chosen[:, None])[:, 0]
        done = (step + 1) / steps
        confidence = confidence + CHOICE_TEMPERATURE * (1 - done) * _gumbel(chance)
        left = (total * math.cos(math.pi / 2 * done)).floor().long()
        hidden = hidden & _lowest(confidence.masked_fill(~hidden, math.inf), left)
    return indices


def complete_slices(
    networks: Networks,
    images: Tensor,
    masks: Tensor,
    conditions: Tensor,
    draws: Sequence[Draws],
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Return slices ``(n, y, x)`` whose part under ``masks`` is sampled, given the rest.

    The masked part has no influence: it is filled in smoothly before the slice is encoded, and
    every code that covers a masked pixel is hidden from the prior.
    """
    indices = encode(networks, fill_in(images, masks)[:, None])
    factor = images.shape[-1] // indices.shape[-1]
    hidden = functional.max_pool2d(masks[:, None].float(), factor)[:, 0] > 0
    completed = fill_codes(networks, indices, hidden, conditions, draws, steps, temperature)
    return torch.where(masks, decode(networks, completed)[:, 0], images)


def fill_in(images: Tensor, masks: Tensor) -> Tensor:
    """Fill masked pixels of ``(n, y, x)`` with the mean of known pixels near them."""
    filled, known = images.masked_fill(masks, 0), (~masks).float()
    for width in _REACH:
        weight = functional.avg_pool2d(known[:, None], width, 1, width // 2)[:, 0]
        total = functional.avg_pool2d((filled * known)[:, None], width, 1, width // 2)[:, 0]
        near = (known == 0) & (weight > 0)
        filled = torch.where(near, total / weight.clamp(min=1e-6), filled)
        known = torch.where(near, 1.0, known)
    return filled


def _lowest(values: Tensor, counts: Tensor) -> Tensor:
    """Mark the lowest values of each map ``(n, h, w)``, as many as ``counts`` ``(n,)`` says."""
    rank = values.flatten(1).argsort(1).argsort(1).view_as(values)
    return rank < counts[:, None, None]


def _pick(shares: Tensor, place: Tensor) -> Tensor:
    """Pick codes ``(n, h, w)`` of probabilities ``(n, codes, h, w)`` by uniform numbers."""
    passed = (shares.cumsum(1) <= place[:, None]).sum(1)
    return passed.clamp(max=shares.shape[1] - 1)


def _gumbel(uniform: Tensor) -> Tensor:
    """Turn uniform numbers into Gumbel noise, to sample without replacement."""
    return -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))


def _normal(draws: Draws, temperature: float) -> Tensor:
    return temperature * torch.randn(NOISE, generator=draws("noise"))
