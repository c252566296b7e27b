import numpy as np
import pytest
import torch

from napari_mrgen.families.frame_prediction.config import PRESETS
from napari_mrgen.families.frame_prediction.forecasting import (
    forecast,
    pad,
    predict,
    propagate_labels,
)
from napari_mrgen.families.frame_prediction.networks import predictor_networks

BUILT = predictor_networks(PRESETS["tiny"].config, ())
PUBLISHED = predictor_networks(PRESETS["published"].config, ())


def context(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 17, 31), (7, 154, 224)])
def test_any_size_is_continued(size):
    with torch.no_grad():
        assert forecast(BUILT, context(1, 5, *size), 0, 3).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [(4, 32, 32), (9, 50, 33)])
def test_simple_ugen_is_padded(size):
    with torch.no_grad():
        assert forecast(PUBLISHED, context(1, 5, *size), 0, 2).shape == (1, 2, *size)


def test_what_lies_a_cycle_ahead_repeats():
    with torch.no_grad():
        predicted = forecast(BUILT, context(1, 5, 1, 16, 16), cycle=12, count=50)
    assert predicted.shape[1] == 50
    assert torch.equal(predicted[:, :12], predicted[:, 36:48])


def test_a_known_cycle_leads_round_to_the_context():
    seen = context(1, 5, 1, 16, 16)
    with torch.no_grad():
        predicted = forecast(BUILT, seen, cycle=12, count=12)
    assert torch.equal(predicted[:, 7:], seen)


def test_padding_repeats_the_edge_and_only_where_needed():
    frames = context(1, 2, 3, 15, 16)
    padded = pad(frames, (4, 16, 16))
    assert padded.shape == (1, 2, 4, 16, 16)
    assert torch.equal(padded[..., :3, :15, :], frames)
    assert torch.equal(padded[..., 3, 15, :], frames[..., 2, 14, :])
    assert pad(frames, (1, 5, 4)) is frames


def test_prediction_is_in_the_units_of_its_context():
    frames = (1000 * context(5, 2, 32, 32)).numpy()
    predicted = predict(BUILT, frames, 0, 2)
    assert predicted == pytest.approx(np.repeat(frames[-1:], 2, 0), abs=0.5)


def test_labels_are_carried_by_passes_longer_than_the_context():
    config = PRESETS["tiny"].config.with_values({"context": 2, "frames_per_pass": 5})
    labels = torch.arange(20 * 20).view(1, 20, 20) % 3
    with torch.no_grad():
        moved = propagate_labels(
            predictor_networks(config, ())["generator"], context(1, 2, 1, 20, 20), labels, 12, 7
        )
    assert torch.equal(moved, labels.expand(7, -1, -1, -1))
