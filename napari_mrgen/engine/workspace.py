"""What an operation needs while it runs, beside what it takes and gives, on a CPU.

The rules are what PyTorch 2.13 with oneDNN 3.12 was seen to do, operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from napari_mrgen.engine.layout import CHANNELS_LAST

_aten = torch.ops.aten
_LANES = 16
"""Channels that a register holds: to a multiple of it oneDNN pads in its own layouts."""
_PLAIN = 3
"""An image with so few channels is read as it is."""

Rule = Callable[[tuple[Any, ...], Any], int]


def workspace_bytes(operation: Any, arguments: tuple[Any, ...], result: Any) -> int:
    """Return the bytes that live during an operation only."""
    rule = _RULES.get(operation.overloadpacket)
    if rule is not None:
        return rule(arguments, result)
    if torch.Tag.pointwise in operation.tags:
        return _converted(arguments, result)
    return 0


def _converted(arguments: tuple[Any, ...], result: Any) -> int:
    """Pointwise: arguments of another type than the result's are converted as a whole."""
    if not isinstance(result, Tensor) or not result.is_floating_point():
        return 0
    return sum(
        _bytes(leaf, result.element_size())
        for leaf in tree_leaves(arguments)
        if isinstance(leaf, Tensor) and leaf.ndim and leaf.is_floating_point()
        if leaf.dtype != result.dtype
    )


def _convolution(arguments: tuple[Any, ...], result: Tensor) -> int:
    image, weight, _, *how = arguments[:9]
    if _is_unfolded(image, weight, how):
        return _unfolded(image, weight, result)
    if not _is_last(image, weight):
        return _padded(result) + (_padded(image) if image.shape[1] > _PLAIN else 0)
    is_transposed = how[3]
    return _copied(image) + (_bytes(image[:1]) if is_transposed else 0)


def _convolution_backward(arguments: tuple[Any, ...], result: Any) -> int:
    gradient, image, weight, _, *how = arguments[:10]
    if _is_unfolded(image, weight, how):
        return _unfolded(image, weight, gradient) + _copied(gradient, torch.contiguous_format)
    is_last = _is_last(image, weight)
    threads: int = torch.get_num_threads()
    sums: int = threads * weight.numel() * 4  # Each thread sums over voxels of its own.
    if image.dtype == torch.bfloat16:
        # Neighbouring values lie in pairs for the sums: of one image for each thread.
        sums += threads * _padded(gradient[:1])
        if is_last or image.shape[1] > _PLAIN:
            sums += threads * _padded(image[:1])
    if is_last:
        return _copied(image) + _copied(gradient) + sums
    copied = sum(_copied(each, torch.contiguous_format) for each in (image, gradient))
    image_gradient = 0 if result[0] is None else _padded(image)
    return copied + _padded(gradient) + max(sums, image_gradient)


def _is_unfolded(image: Tensor, weight: Tensor, how: Sequence[Any]) -> bool:
    """Whether an image is unfolded into a matrix: small float32 ones, in batches of one.

    oneDNN is not used for them; see ``use_mkldnn`` in torch's ``Convolution.cpp``.
    """
    return "Slow" in str(torch._C._select_conv_backend(image, weight, None, *how, None))


def _unfolded(image: Tensor, weight: Tensor, output: Tensor) -> int:
    taps = prod(weight.shape[2:])
    copied = _copied(image, torch.contiguous_format)
    if taps == 1:
        return copied
    voxels = len(output) * prod(output.shape[2:])
    return copied + voxels * image.shape[1] * taps * image.element_size()


def _is_last(image: Tensor, weight: Tensor) -> bool:
    """Whether a convolution works with the channels last: where one of the two comes so."""
    layout = CHANNELS_LAST.get(image.ndim)
    return layout is not None and any(
        tensor.is_contiguous(memory_format=layout) and not tensor.is_contiguous()
        for tensor in (image, weight)
    )


def _copied(tensor: Tensor, layout: torch.memory_format | None = None) -> int:
    """Bytes of a copy with the channels last, or in another layout; 0 where it lies so."""
    layout = layout or CHANNELS_LAST.get(tensor.ndim, torch.contiguous_format)
    return 0 if tensor.is_contiguous(memory_format=layout) else _bytes(tensor)


def _padded(tensor: Tensor) -> int:
    """Bytes of a copy in oneDNN's own layout."""
    channels = -(-tensor.shape[1] // _LANES) * _LANES
    return _bytes(tensor) // tensor.shape[1] * channels


def _bytes(tensor: Tensor, each: int = 0) -> int:
    return int(tensor.numel()) * (each or tensor.element_size())


def _of_input(arguments: tuple[Any, ...], result: Any) -> int:
    return _bytes(arguments[1])


def _upsampled_back(arguments: tuple[Any, ...], result: Tensor) -> int:
    """Nearest: summed with the channels first; both: in float32."""
    return _summed(arguments, result) + _bytes(result)


def _summed(arguments: tuple[Any, ...], result: Tensor) -> int:
    return 0 if result.dtype == torch.float32 else _bytes(result, 4)


_RULES: Mapping[Any, Rule] = {
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
    _aten.native_batch_norm_backward: _of_input,
    _aten.upsample_nearest2d_backward: _upsampled_back,
    _aten.upsample_nearest3d_backward: _upsampled_back,
    _aten.upsample_trilinear3d_backward: _summed,
}
