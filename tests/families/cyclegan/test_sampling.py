"""What comes out of a model lies where its source lies, in intensities of the other contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_mrgen import families
from napari_mrgen.engine.memory.measure import measure_call
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan import sampling
from napari_mrgen.families.cyclegan.config import CycleGanConfig, CycleGanGenerateConfig
from napari_mrgen.families.cyclegan.networks import build_translators
from napari_mrgen.families.cyclegan.sampling import (
    preprocess_volume,
    target_scaling,
    translate,
    translate_input,
)
from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume

TINY = families.get("cyclegan").preset("tiny")
DATA = {"scaling": {"t1": {"offset": 0.0, "scale": 500.0}, "t2": {"offset": -20.0, "scale": 900.0}}}
AFFINE = np.array([[0.3, 0.4, 5.0, -40], [0.2, -5.4, 0.3, 60], [6.1, 0.2, 0.4, -70], [0, 0, 0, 1]])


def head(*, is_stripped: bool = True, shape: tuple[int, int, int] = (21, 26, 23)) -> Volume:
    """An ellipsoid with some texture, in nothing or in another one, obliquely in the scanner."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radius = np.linalg.norm(grid, axis=0)
    texture = 300 + 200 * np.sin(9 * grid[0]) * np.cos(7 * grid[1] + 3 * grid[2])
    outside = 0 if is_stripped else 15 + 10 * np.cos(5 * grid[0]) + 100 * (radius < 1.3)
    array = np.where(radius < 0.75, texture, outside).astype(np.float32)
    return Volume(array, "zyx", AFFINE, name="head", subject="sub-1")


def mapping(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """Make a network that maps intensities by a function."""

    class Mapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, volume: Tensor) -> Tensor:
            return function(volume)

    return Mapping()


SAME = {name: mapping(lambda volume: volume) for name in ("t1_to_t2", "t2_to_t1")}


def run(
    inputs: dict[str, Volume], nets: dict[str, nn.Module] = SAME, **settings: object
) -> list[Volume]:
    config = CycleGanGenerateConfig.parse(settings)
    return list(translate_input(nets, TINY, config, inputs, torch.Generator(), DATA))


def untrained(config: CycleGanConfig = TINY) -> dict[str, nn.Module]:
    """Networks with weights that do something: fresh ones only pass their input on."""
    torch.manual_seed(0)
    nets = build_translators(config)
    generator = torch.Generator().manual_seed(0)
    for network in nets.values():
        for weight in network.parameters():
            if not weight.any():
                weight.data = 0.02 * torch.randn(weight.shape, generator=generator)
    return nets


# ---- where it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stripped", [True, False])
def test_a_result_lies_where_its_source_lies(is_stripped, tmp_path):
    source = head(is_stripped=is_stripped)
    for result in run({"t1": source}, untrained(), cycle=True):
        assert result.array.shape == source.array.shape
        assert result.subject == source.subject
        np.testing.assert_array_equal(result.affine, source.affine)
        nifti.write(replace(result, provenance={"family": "cyclegan"}), tmp_path / "x.nii.gz")
        again = nifti.read(tmp_path / "x.nii.gz")
        for axis, length in zip("zyx", source.spacing, strict=True):
            assert again.spacing["zyx".index(axis)] == pytest.approx(length, rel=1e-5)
        assert sorted(again.array.shape) == sorted(source.array.shape)


def test_a_file_keeps_order_of_axes_and_header_codes(tmp_path):
    nifti.write(head(), tmp_path / "t1.nii.gz")
    source = nifti.read(tmp_path / "t1.nii.gz")
    (result,) = run({"t1": source})
    nifti.write(replace(result, provenance={"family": "cyclegan"}), tmp_path / "t2.nii.gz")
    made = nifti.read(tmp_path / "t2.nii.gz")
    np.testing.assert_allclose(made.affine, source.affine, atol=1e-4)
    assert made.array.shape == source.array.shape
    for key in ("axes", "flips", "codes", "spacing_known"):
        assert getattr(made.source, key) == getattr(source.source, key)


@pytest.mark.parametrize("shape", [(17, 23, 19), (16, 16, 40), (33, 12, 16)])
def test_any_shape_is_translated_and_nothing_is_shifted(shape):
    source = head(shape=shape)
    (result,) = run({"t1": source})
    inside = source.array > 0
    ratio = (result.array[inside] + 20) / source.array[inside]
    assert np.median(ratio) == pytest.approx(ratio, rel=0.05) or ratio.std() < 0.05 * ratio.mean()


# ---- in which intensities -----------------------------------------------------------------------


@pytest.mark.parametrize(("role", "target"), [("t1", "t2"), ("t2", "t1")])
def test_results_have_the_usual_range_of_their_contrast(role, target):
    scaling = target_scaling(DATA, target)
    wild = dict.fromkeys(SAME, mapping(lambda volume: 9 * volume - 4))
    (result,) = run({role: head()}, wild)
    assert result.array.min() == pytest.approx(scaling.offset)
    assert result.array.max() == pytest.approx(scaling.offset + scaling.scale)
    assert result.array.dtype == np.float32


def test_a_brighter_scan_gives_the_same_result():
    one, other = head(), head()
    other = other.with_array(3.7 * other.array)
    found = [run({"t1": volume}, untrained())[0].array for volume in (one, other)]
    np.testing.assert_allclose(*found, atol=1)  # Of 900, in bfloat16.


def test_around_a_stripped_brain_there_is_nothing():
    bright = dict.fromkeys(SAME, mapping(lambda volume: volume + 0.5))
    (result,) = run({"t1": head()}, bright)
    assert result.array[0, 0, 0] == -20


def test_the_whole_of_a_head_is_translated():
    source = head(is_stripped=False)
    (result,) = run({"t1": source})
    preprocessed = preprocess_volume(source, None, TINY)
    expected = target_scaling(DATA, "t2").invert(
        preprocessed.scaling.apply(source.array).clip(0, 1)
    )
    np.testing.assert_allclose(result.array, expected, rtol=1e-5)


# ---- there and back -----------------------------------------------------------------------------


def test_the_way_back_ends_at_the_source_and_what_it_misses_is_in_its_units():
    source = head()
    nets = {"t1_to_t2": SAME["t1_to_t2"], "t2_to_t1": mapping(lambda v: (v - 0.25).clamp(min=0))}
    there, back, error = run({"t1": source}, nets, cycle=True)
    assert [volume.name for volume in (there, back, error)] == [
        "head as T2w",
        "head as T2w and back",
        "head as T2w and back, error",
    ]
    top = preprocess_volume(source, None, TINY).scaling.scale
    clipped = source.array.clip(0, top)
    np.testing.assert_allclose(back.array, (clipped - top / 4).clip(0), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(error.array, np.abs(back.array - clipped), rtol=1e-4, atol=1e-2)


def test_directions_are_those_of_the_networks():
    nets = {"t1_to_t2": mapping(lambda volume: 1 - volume), "t2_to_t1": SAME["t2_to_t1"]}
    source = head()
    assert run({"t2": source}, nets)[0].name == "head as T1w"
    dark = run({"t1": source}, nets)[0].array
    inside = source.array > 0
    assert np.corrcoef(dark[inside], source.array[inside])[0, 1] < -0.9


# ---- tiles --------------------------------------------------------------------------------------


def test_tiles_agree_with_the_whole_volume():
    network = untrained()["t1_to_t2"]
    for weight in network.head.parameters():
        weight.data *= 0.2  # Details of a tenth of the range, as trained networks add them.
    values = head(shape=(60, 64, 56)).array / 500
    whole, tiled = (translate(network, values, TINY.legal, tile) for tile in (0, 40))
    assert np.abs(whole - values).max() > 0.1
    assert np.abs(tiled - whole).max() < 0.01
    assert translate(network, values[:12, :14, :13], TINY.legal, 1).shape == (12, 14, 13)


def test_a_volume_that_does_not_fit_is_translated_in_tiles(monkeypatch):
    seen: list[tuple[int, ...]] = []

    def remembering(volume: Tensor) -> Tensor:
        seen.append(tuple(volume.shape[2:]))
        return volume.square()

    values = np.random.default_rng(0).random((40, 36, 200), np.float32)
    room = 16 * values.size + measure_call(torch.square, (1, 1, 40, 36, 112))
    device = type("Device", (), {"free_bytes": room / 0.7})
    monkeypatch.setattr(sampling, "device_info", lambda _: device)
    np.testing.assert_allclose(translate(mapping(remembering), values, 1), values**2, atol=1e-6)
    tried, calls = seen[:3], seen[3:]
    assert tried == [(40, 36, 200), (40, 36, 150), (40, 36, 112)]
    assert calls == 3 * [(40, 36, 112)]


# ---- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "settings", "said"),
    [
        ((), {}, "a T1w or a T2w volume to translate, got none"),
        (("t1", "t2"), {}, "got both"),
        (("t1",), {"direction": "t2 to t1"}, "'t2' is missing"),
        (("t2",), {}, "does not translate T2w to T1w"),
        (("t1",), {"cycle": True}, "does not know the way back"),
    ],
)
def test_what_cannot_be_is_said(roles, settings, said):
    one_way = {"t1_to_t2": SAME["t1_to_t2"]}
    with pytest.raises(MrgenError, match=said):
        run(dict.fromkeys(roles, head()), one_way, **settings)


def test_both_contrasts_are_fine_where_the_direction_is_set():
    (result,) = run({"t1": head(), "t2": head()}, direction="t2 to t1")
    assert result.name == "head as T1w"


def test_an_empty_scan_is_refused():
    with pytest.raises(MrgenError, match="same value everywhere"):
        run({"t1": head().with_array(np.zeros((20, 20, 20), np.float32))})


def test_a_mask_of_another_grid_says_where_the_brain_is():
    source = head(is_stripped=False)
    brain = (head().array > 0).astype(np.uint8)[::2, ::2, ::2]
    affine = AFFINE @ np.diag([2.0, 2, 2, 1])
    mask = Volume(brain, "zyx", affine, kind="labels", name="mask")
    given, made = (preprocess_volume(source, labels, TINY) for labels in (mask, None))
    assert given.scaling.scale == pytest.approx(made.scaling.scale, rel=0.2)
    assert given.values.shape == source.array.shape
    with pytest.raises(MrgenError, match="mark nothing"):
        preprocess_volume(source, replace(mask, array=np.zeros_like(brain), affine=AFFINE), TINY)


def test_the_published_network_sees_what_it_was_trained_on():
    seed = (
        families.get("cyclegan")
        .preset("published")
        .with_values({"width": 2, "discriminator_width": 2})
    )
    source = head(is_stripped=False)
    preprocessed = preprocess_volume(
        source, head().with_array((head().array > 0).astype(np.uint8)), seed
    )
    assert preprocessed.values.size < source.array.size
    config = CycleGanGenerateConfig()
    nets = build_translators(seed)
    (result,) = translate_input(nets, seed, config, {"t1": source}, torch.Generator(), DATA)
    assert result.array.shape == source.array.shape
    assert np.isfinite(result.array).all()
