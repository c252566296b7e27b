"""Draw new slices, or reconstruct or complete those of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.scaling import as_type
from napari_mrgen.data.slice_volumes import blocks, drawn, levels_of, told_to
from napari_mrgen.data.slices import Placement, slices_of, told_of
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.vqvae.completion import complete_slices
from napari_mrgen.families.vqvae.config import VqVaeConfig, VqVaeGenerateConfig
from napari_mrgen.families.vqvae.networks import decode, encode
from napari_mrgen.families.vqvae.sampling import draw_codes
from napari_mrgen.families.vqvae.scoring import score, sets
from napari_mrgen.families.vqvae.training import slice_spec
from napari_mrgen.volume import Source, Volume

__all__ = ["draw_slices", "generate", "score", "sets"]

PLANES = ("axial", "coronal", "sagittal")
"""By the axis of ``zyx`` across which they cut."""
TOGETHER = {"cpu": 8, "cuda": 64}
"""Slices that a device draws or codes at once, always: what one gives must not depend on how many
are wanted, and sums in batches of another size differ in their last digit."""


def generate(
    networks: Networks,
    trained: VqVaeConfig,
    config: VqVaeGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield drawn slices in blocks; or a reconstruction, its codes and its error; or a completion.

    Every sample has draws of its own from the seed, so ``generator`` is not needed.
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
        images, columns = draw_slices(networks, trained, config, indices)
        samples = {"index": list(indices), **columns}
        yield drawn(images, data, "vqvae samples", samples=samples)


def draw_slices(
    networks: Networks, trained: VqVaeConfig, config: VqVaeGenerateConfig, indices: range
) -> tuple[Tensor, dict[str, Any]]:
    """Draw slices ``(n, y, x)`` by their indices, and tell what was asked of each."""
    age, sex = config.age, None if config.sex == "any" else config.sex
    _, columns = told_to(levels_of(indices, config.level), age, sex)
    found, device = [], _device(networks)
    size = TOGETHER[device.type]
    for start in range(indices.start // size * size, indices.stop, size):
        chunk = range(start, start + size)
        told, _ = told_to(levels_of(chunk, config.level), age, sex)
        codes = draw_codes(
            networks,
            told.to(device),
            [Draws((config.seed, "sample", index)) for index in chunk],
            trained.side,
            config.decoding_steps,
            config.temperature,
        )
        kept = [index in indices for index in chunk]
        found.append(decode(networks, codes)[kept, 0].cpu())
    return torch.cat(found), columns


def _task(config: VqVaeGenerateConfig, inputs: Mapping[str, Volume]) -> str:
    task: str = config.task
    if task == "auto":
        given = "complete" if "mask" in inputs else "reconstruct"
        task = given if inputs else "sample"
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
        msg = "The DCGAN prior draws whole maps and cannot complete; train the transformer prior."
        raise MrgenError(msg)


def _reconstruct(networks: Networks, trained: VqVaeConfig, volume: Volume) -> Iterator[Volume]:
    images, placement = slices_of(volume, slice_spec(trained))
    codes = _by_parts(lambda part: encode(networks, part[:, None]), images.to(_device(networks)))
    painted = _by_parts(lambda part: decode(networks, part)[:, 0], codes)
    name = volume.name or "image"
    result = placement.back(painted, name=f"{name} reconstructed")
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
    """Draw what is masked anew, slice by slice; everything else stays, to the last bit."""
    volume, mask = inputs["image"], inputs["mask"]
    marked = mask.array > 0
    if marked.shape != volume.array.shape:
        msg = f"The mask has the shape {marked.shape}; expected the image's, {volume.array.shape}."
        raise MrgenError(msg)
    if not marked.any():
        msg = "Nothing is marked in the mask; mark the part of the image to complete."
        raise MrgenError(msg)
    images, placement = slices_of(volume, slice_spec(trained))
    as_labels = volume.with_array(marked.astype(np.uint8), kind="labels")
    masks = slices_of(as_labels, slice_spec(trained))[0] > 0
    told, device = told_of(placement.levels, volume.participant), _device(networks)
    results = []
    for sample in range(config.samples):
        completed = images.clone()
        for index in masks.flatten(1).any(1).nonzero()[:, 0].tolist():
            one = slice(index, index + 1)
            image, marks, known = (part[one].to(device) for part in (images, masks, told))
            draws = [Draws((config.seed, "complete", sample, index))]
            completed[one] = complete_slices(
                networks, image, marks, known, draws, config.decoding_steps, config.temperature
            )
        found = as_type(placement.back(completed).array, volume.array.dtype)
        results.append(np.where(marked, found, volume.array))
    axes, array = ("zyx", results[0]) if config.samples == 1 else ("nzyx", np.stack(results))
    yield volume.with_array(array, axes, name=f"{volume.name or 'image'} completed")


def code_map(codes: Tensor, placement: Placement, factor: int, name: str) -> Volume:
    """Return codes ``(n, h, w)`` as labels from 1 on, a voxel for each, where they lie."""
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
    # How the source's own grid was stored does not hold for this one.
    source = None if volume.spacing_known else Source(spacing_known=False)
    return volume.with_array(array, affine=affine, kind="labels", name=name, source=source)


def _by_parts(work: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Do the work on a few slices at a time, always as many: the last part is filled up."""
    size = TOGETHER[images.device.type]
    parts = (
        work(functional.pad(part, (0, 0, 0, 0, 0, size - len(part))))[: len(part)]
        for part in torch.split(images, size)
    )
    return torch.cat(list(parts))


def _device(networks: Networks) -> torch.device:
    return device_of(networks["encoder"])
