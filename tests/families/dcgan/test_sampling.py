from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mrgen.errors import MrgenError
from napari_mrgen.families.dcgan.config import PRESETS, DcganConfig, DcganGenerateConfig
from napari_mrgen.families.dcgan.networks import generator_networks, slerp
from napari_mrgen.families.dcgan.sampling import sample_slices
from napari_mrgen.volume import Volume

DATA = {"shape": [64, 64], "spacing_mm": [2.0, 1.5, 1.25], "plane": "axial"}
TINY = PRESETS["tiny"].config


@pytest.fixture(scope="module")
def built() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    found = generator_networks(TINY)
    with torch.no_grad():
        for head in found["generator"].heads:
            head.last.weight.normal_()
    return found


def drawn(
    built: dict[str, torch.nn.Module], trained: DcganConfig = TINY, **values: object
) -> list[Volume]:
    config = DcganGenerateConfig.parse(values)
    return list(sample_slices(built, trained, config, {}, torch.Generator(), DATA))


def test_samples_come_in_blocks_with_their_table(built: dict[str, torch.nn.Module]) -> None:
    volumes = drawn(built, samples=70, sex="F")
    assert [volume.array.shape for volume in volumes] == [(64, 1, 64, 64), (6, 1, 64, 64)]
    assert volumes[0].spacing == pytest.approx((2.0, 1.5, 1.25))
    samples = volumes[1].samples
    assert samples["index"] == list(range(64, 70))
    assert samples["sex"] == ["F"] * 6
    assert len(set(samples["level"])) == 6


def test_a_sample_does_not_depend_on_how_many_there_are(
    built: dict[str, torch.nn.Module],
) -> None:
    (few,), (many, *_) = drawn(built, samples=3), drawn(built, samples=80)
    np.testing.assert_array_equal(few.array, many.array[:3])


def test_level_seed_and_truncation_count(built: dict[str, torch.nn.Module]) -> None:
    (plain,) = drawn(built, samples=2)
    for values in ({"level": 0.9}, {"seed": 1}, {"truncation": 0.5}, {"age": 80.0}, {"sex": "M"}):
        (other,) = drawn(built, samples=2, **values)
        assert not np.array_equal(plain.array, other.array), values


def test_a_walk_goes_from_sample_to_sample(built: dict[str, torch.nn.Module]) -> None:
    (samples,), (walk,) = drawn(built, samples=3), drawn(built, samples=3, walk=9)
    assert walk.axes == "tzyx"
    assert walk.array.shape == (9, 1, 64, 64)
    np.testing.assert_allclose(walk.array[[0, 4, 8]], samples.array, atol=1e-4)
    steps = np.abs(np.diff(walk.array, axis=0)).mean((1, 2, 3))
    jump = np.abs(samples.array[1] - samples.array[0]).mean()
    assert steps[:4].max() < jump


def test_noise_stays_as_long_on_its_way() -> None:
    start, end = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    start, end = (8 * v / v.norm(dim=1, keepdim=True) for v in (start, end))
    for share in (0.0, 0.3, 0.5, 1.0):
        between = slerp(start, end, torch.full((5, 1), share))
        torch.testing.assert_close(between.norm(dim=1), torch.full((5,), 8.0))


def test_what_was_not_trained_cannot_be_asked_for(built: dict[str, torch.nn.Module]) -> None:
    level = TINY.with_values({"condition": "level"})
    with pytest.raises(MrgenError, match="without age"):
        drawn(built, level, age=50.0)
    (samples,) = drawn(
        {
            "generator": generator_networks(none := TINY.with_values({"condition": "none"}))[
                "generator"
            ]
        },
        none,
        samples=2,
    )
    assert set(samples.samples) == {"index"}
