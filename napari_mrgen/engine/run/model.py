"""Model files: the averaged networks and everything that is needed to use them, in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.run.model_header import (
    Header,
    first_line,
    hash_file,
    model_file,
    read_header,
)
from napari_mrgen.engine.weights import put_channels_last
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import replacing


@dataclass(frozen=True)
class Model:
    """A trained model, ready to generate on the CPU."""

    family: str
    config: TrainConfig
    networks: dict[str, nn.Module]
    info: Header
    hash: str
    """SHA-256 of the file."""


def save_model(path: Path, networks: Mapping[str, nn.Module], header: Header) -> None:
    """Write networks as one file, whole or not at all."""
    tensors = {
        # Cloned: safetensors refuses tensors that share memory, as tied weights do.
        f"{name}/{key}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    with replacing(path) as file:
        file.write(save(tensors, header.to_metadata()))


def load_model(path: Path, lookup: Callable[[str], Family]) -> Model:
    """Load a model file, or the model of a run folder; safe for files from comparable_pairs."""
    path = model_file(path)
    header = read_header(path)
    family = lookup(header.family)
    config = family.train_config.parse(dict(header.config))
    weights = load_weights(path)
    networks = _build(path, family, config, header, weights)
    return Model(header.family, config, networks, header, hash_file(path))


def load_weights(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read the weights of a model file by network."""
    path = model_file(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        msg = f"{path.name} is not a model of napari-mrgen, or it is damaged ({first_line(error)})."
        raise MrgenError(msg) from None
    weights: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, rest = key.partition("/")
        weights.setdefault(name, {})[rest] = tensor
    return weights


def put_weights(
    networks: Mapping[str, nn.Module], weights: Mapping[str, Mapping[str, Tensor]], source: str
) -> None:
    """Load weights into the networks of the same name; the others stay as they are."""
    for name, values in weights.items():
        if name in networks:
            current = _with_current_names(networks[name], values)
            _check(networks[name], current, f"{source}, network {name}")
            networks[name].load_state_dict(current)


def _build(
    path: Path,
    family: Family,
    config: TrainConfig,
    header: Header,
    weights: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, nn.Module]:
    try:
        shape = tuple(int(size) for size in header.data["shape"])
        # First without memory: a header could ask for more of it than there is.
        with torch.device("meta"):
            planned = family.networks(config, shape)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        msg = f"{path.name}: no {header.family} can be built from its header ({first_line(error)})."
        raise MrgenError(msg) from None
    missing = [n for n in header.networks if n not in weights or n not in planned]
    if missing or not header.networks:
        msg = f"{path.name} is incomplete: it has no weights of {', '.join(missing) or 'anything'}."
        raise MrgenError(msg)
    for name in header.networks:
        current = _with_current_names(planned[name], weights[name])
        _check(planned[name], current, f"{path.name}, network {name}")
    built = family.networks(config, shape)
    networks = {name: built[name] for name in header.networks}
    put_weights(networks, weights, path.name)
    for network in networks.values():
        put_channels_last(network.eval().requires_grad_(False))
    return networks


def _with_current_names(network: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights under the names that the parts of a network have today.

    A part that was renamed since the file was written is the only one that the file lacks, and its
    old name the only one that the network lacks.
    """
    expected = network.state_dict().keys()
    missing, surplus = (
        {key.partition(".")[0] for key in keys}
        for keys in (expected - weights.keys(), weights.keys() - expected)
    )
    if len(missing) != 1 or len(surplus) != 1:
        return weights
    (new,), (old,) = missing, surplus
    return {
        f"{new}.{rest}" if part == old else key: tensor
        for key, tensor in weights.items()
        for part, _, rest in [key.partition(".")]
    }


def _check(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    shapes = {key: tensor.shape for key, tensor in weights.items()}
    for key in sorted(expected.keys() | shapes.keys()):
        if expected.get(key) != shapes.get(key):
            need, got = (_shape(each.get(key)) for each in (expected, shapes))
            msg = f"{where} does not fit: expected {key} {need}, got {got}."
            raise MrgenError(msg)


def _shape(shape: torch.Size | None) -> str:
    return "nothing" if shape is None else str(tuple(shape))
