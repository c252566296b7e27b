import numpy as np
import pytest
import torch

from napari_mrgen.app.generate import collect
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.frame_prediction.config import (
    PRESETS,
    FramePredictionGenerateConfig,
)
from napari_mrgen.families.frame_prediction.networks import predictor_networks
from napari_mrgen.families.frame_prediction.sampling import (
    context_frames,
    forecast,
    pad,
    predict,
    predict_cine,
    propagate_labels,
)
from napari_mrgen.volume import Volume

TINY = PRESETS["tiny"].config
NETWORKS = predictor_networks(TINY, ())
PUBLISHED = predictor_networks(PRESETS["published"].config, ())
AFFINE = np.diag([9.0, 1.5, 1.25, 1.0])[:, [2, 1, 0, 3]]


@pytest.fixture
def cine() -> Volume:
    values = np.random.default_rng(0).integers(0, 200, (9, 2, 20, 24)).astype(np.uint8)
    times = tuple(0.04 * i for i in range(9))
    return Volume(values, "tzyx", AFFINE, name="heart", times=times)


def run(cine: Volume, **settings) -> list[Volume]:
    config = FramePredictionGenerateConfig(**settings)
    g = torch.Generator().manual_seed(config.seed)
    return list(predict_cine(NETWORKS, TINY, config, {"cine": cine}, g, {}))


def test_prediction_lies_where_its_source_lies_and_goes_on_in_time(cine):
    (predicted,) = run(cine, frames=7)
    assert predicted.array.shape == (7, 2, 20, 24)
    assert predicted.array.dtype == np.uint8
    assert np.array_equal(predicted.affine, AFFINE)
    assert predicted.times == pytest.approx([0.36 + 0.04 * i for i in range(7)])


def test_times_are_not_invented(cine):
    (predicted,) = run(cine.with_array(cine.array), frames=2)
    assert predicted.times is None


def test_the_context_may_stand_before(cine):
    (predicted,) = run(cine, frames=2, start_frame=6, include_context=True)
    assert np.array_equal(predicted.array[:5], cine.array[2:7])
    assert predicted.times == pytest.approx([0.08 + 0.04 * i for i in range(7)])


def test_an_untrained_model_repeats_the_frame_it_starts_from(cine):
    (predicted,) = run(cine, frames=1, start_frame=5)
    assert np.abs(predicted.array[0].astype(int) - cine.array[5]).max() <= 1


def test_samples_come_one_by_one(cine):
    first, second, third, spread = run(cine, frames=3, samples=3)
    assert [v.samples for v in (first, second, third)] == [
        {"index": [0]},
        {"index": [1]},
        {"index": [2]},
    ]
    assert (first.axes, first.array.shape) == ("ntzyx", (1, 3, 2, 20, 24))
    assert spread.samples is None
    whole = np.concatenate([v.array for v in (first, second, third)]).astype(np.float32)
    # Samples are rounded to the cine's integers, their spread is not.
    assert np.abs(spread.array - whole.std(0)).max() < 0.5


def test_samples_are_stacked_with_their_spread(cine):
    samples, spread = collect(run(cine, frames=3, samples=4))
    assert (samples.axes, samples.array.shape) == ("ntzyx", (4, 3, 2, 20, 24))
    assert (spread.axes, spread.array.shape) == ("tzyx", (3, 2, 20, 24))
    assert spread.array.max() > 0


def test_a_seed_gives_one_sample(cine):
    first, again, other = (run(cine, frames=2, noise=True, seed=s)[0].array for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("start", "message"), [(9, "frames 0 to 8"), (2, "start after frame 4 or later")]
)
def test_an_impossible_start_is_explained(cine, start, message):
    with pytest.raises(MrgenError, match=message):
        run(cine, start_frame=start, cycle=0)


def test_a_periodic_series_goes_round(cine):
    assert np.array_equal(context_frames(cine, 1, 5, cycle=9), cine.array[[6, 7, 8, 0, 1]])


def test_a_long_periodic_series_goes_on_from_the_frames_asked_for():
    frames = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1)
    long = Volume(frames, "tzyx", np.eye(4))
    assert context_frames(long, 59, 5, cycle=25).flatten().tolist() == [55, 56, 57, 58, 59]
    assert context_frames(long, 1, 5, cycle=25).flatten().tolist() == [22, 23, 24, 0, 1]


def test_a_cycle_longer_than_the_series_does_not_lead_round(cine):
    with pytest.raises(MrgenError, match="start after frame 4 or later"):
        context_frames(cine, 2, 5, cycle=12)
    assert np.array_equal(context_frames(cine, 4, 5, cycle=12), cine.array[:5])


def run_stage(cine: Volume, stage: str, **changes) -> list[Volume]:
    trained = PRESETS["published"].config.with_values(changes)
    config = FramePredictionGenerateConfig(stage=stage, frames=2)
    networks = predictor_networks(trained, ())
    return list(predict_cine(networks, trained, config, {"cine": cine}, torch.Generator(), {}))


def test_a_stage_of_one_network_is_what_it_was_trained_to_last(cine):
    assert run_stage(cine, "gan")
    assert run_stage(cine, "best")
    assert run_stage(cine, "autoencoder", gan_steps=0)
    with pytest.raises(MrgenError, match=r"model-autoencoder\.safetensors"):
        run_stage(cine, "autoencoder")
    with pytest.raises(MrgenError, match="no GAN stage"):
        run_stage(cine, "gan", gan_steps=0)


@pytest.mark.parametrize("network", ["flow", "published"])
def test_a_stage_that_was_left_out_is_refused(cine, network):
    values = {"network": network, "autoencoder_steps": 0}
    assert run_stage(cine, "gan", **values)
    with pytest.raises(MrgenError, match="no autoencoder stage"):
        run_stage(cine, "autoencoder", **values)


def context(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 17, 31), (7, 154, 224)])
def test_any_size_is_continued(size):
    with torch.no_grad():
        assert forecast(NETWORKS, context(1, 5, *size), 0, 3).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [(4, 32, 32), (9, 50, 33)])
def test_simple_ugen_is_padded(size):
    with torch.no_grad():
        assert forecast(PUBLISHED, context(1, 5, *size), 0, 2).shape == (1, 2, *size)


def test_what_lies_a_cycle_ahead_repeats():
    with torch.no_grad():
        predicted = forecast(NETWORKS, context(1, 5, 1, 16, 16), cycle=12, count=50)
    assert predicted.shape[1] == 50
    assert torch.equal(predicted[:, :12], predicted[:, 36:48])


def test_a_known_cycle_leads_round_to_the_context():
    frames = context(1, 5, 1, 16, 16)
    with torch.no_grad():
        predicted = forecast(NETWORKS, frames, cycle=12, count=12)
    assert torch.equal(predicted[:, 7:], frames)


def test_padding_repeats_the_edge_and_only_where_needed():
    frames = context(1, 2, 3, 15, 16)
    padded = pad(frames, (4, 16, 16))
    assert padded.shape == (1, 2, 4, 16, 16)
    assert torch.equal(padded[..., :3, :15, :], frames)
    assert torch.equal(padded[..., 3, 15, :], frames[..., 2, 14, :])
    assert pad(frames, (1, 5, 4)) is frames


def test_prediction_is_in_the_units_of_its_context():
    frames = (1000 * context(5, 2, 32, 32)).numpy()
    predicted = predict(NETWORKS, frames, 0, 2)
    assert predicted == pytest.approx(np.repeat(frames[-1:], 2, 0), abs=0.5)


def test_labels_are_propagated_by_passes_longer_than_the_context():
    config = PRESETS["tiny"].config.with_values({"context": 2, "frames_per_pass": 5})
    labels = torch.arange(20 * 20).view(1, 20, 20) % 3
    with torch.no_grad():
        propagated = propagate_labels(
            predictor_networks(config, ())["generator"], context(1, 2, 1, 20, 20), labels, 12, 7
        )
    assert torch.equal(propagated, labels.expand(7, -1, -1, -1))
