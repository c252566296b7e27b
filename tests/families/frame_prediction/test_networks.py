import pytest
import torch

from napari_mrgen.families.frame_prediction.config import PRESETS, FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import (
    predictor_discriminator,
    predictor_networks,
    roll_out,
    timing_features,
    warp,
)

TINY = PRESETS["tiny"].config
NO_CYCLE = torch.zeros(1)


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("preset", PRESETS)
def test_networks_build_without_memory(preset):
    with torch.device("meta"):
        built = predictor_networks(PRESETS[preset].config, ())
    assert all(p.is_meta for network in built.values() for p in network.parameters())


def test_an_untrained_flow_network_repeats_the_last_frame():
    context = frames(1, 5, 2, 32, 48)
    predicted = next(
        roll_out(predictor_networks(TINY, ())["generator"], context, NO_CYCLE, NO_CYCLE)
    )
    assert predicted.shape == (1, 5, 2, 32, 48)
    assert torch.allclose(predicted, context[:, -1:].expand_as(predicted), atol=1e-5)


def test_an_untrained_texture_adds_nothing():
    texture = predictor_networks(TINY, ())["texture"]
    predicted, last = frames(1, 5, 2, 32, 32), frames(1, 1, 2, 32, 32, seed=1)
    assert torch.equal(texture(predicted, last, torch.Generator()), predicted)


def test_slices_and_windows_keep_their_order():
    generator = predictor_networks(TINY, ())["generator"]
    context = frames(2, 5, 3, 32, 32)
    predicted = next(roll_out(generator, context, torch.zeros(2), torch.zeros(2)))
    assert torch.allclose(predicted[:, 0], context[:, -1], atol=1e-5)


@pytest.mark.parametrize(("context", "count"), [(5, 5), (5, 2), (3, 5), (2, 8)])
def test_any_number_of_frames_goes_in_and_out(context, count):
    config = TINY.with_values({"context": context, "frames_per_pass": count})
    generator = predictor_networks(config, ())["generator"]
    rolling = roll_out(generator, frames(1, context, 1, 32, 32), NO_CYCLE, NO_CYCLE)
    assert [next(rolling).shape[1] for _ in range(3)] == [count] * 3


def test_what_is_sent_is_seen_instead():
    generator = predictor_networks(PRESETS["published"].config, ())["generator"]
    context = frames(1, 5, 4, 32, 32)
    own, other = (roll_out(generator, context, NO_CYCLE, NO_CYCLE) for _ in range(2))
    first = next(own)
    next(other)
    assert not torch.equal(own.send(first), other.send(first + 1))


def test_simple_ugen_has_the_published_layers():
    generator = predictor_networks(PRESETS["published"].config, ())["generator"]
    slopes = 2 * (5 + 10 + 15 + 20)
    assert sum(p.numel() for p in generator.parameters()) == 68_411 + slopes
    network = predictor_discriminator(PRESETS["published"].config)
    assert sum(p.numel() for p in network.parameters()) == 36_073


def test_noise_layers_draw_from_the_generator_alone():
    generator = predictor_networks(PRESETS["published"].config, ())["generator"]
    context = frames(1, 5, 4, 32, 32)

    def draw(seed: int | None) -> torch.Tensor:
        g = None if seed is None else torch.Generator().manual_seed(seed)
        return next(roll_out(generator, context, NO_CYCLE, NO_CYCLE, g))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(draw(None), draw(None))


def test_timing_repeats_with_the_cycle_and_is_silent_without_one():
    lead, cycle = torch.tensor([3.0, 23.0]), torch.tensor([20.0, 20.0])
    places = timing_features(lead, cycle)[:, 2:6]
    assert torch.allclose(places[0], places[1], atol=1e-5)
    assert not timing_features(lead, torch.zeros(2))[:, 1:].any()


def test_presets_differ_from_the_defaults_as_they_say():
    assert PRESETS["published"].config.network == "published"
    assert all(isinstance(preset.config, FramePredictionConfig) for preset in PRESETS.values())


def images() -> torch.Tensor:
    return torch.rand(2, 3, 12, 17, generator=torch.Generator().manual_seed(0))


def test_no_displacement_changes_nothing():
    x = images()
    assert torch.allclose(warp(x, torch.zeros(2, 3, 2, 12, 17)), x, atol=1e-5)


def test_displacements_are_pixels_along_x_then_y():
    x = images()
    flow = torch.zeros(2, 3, 2, 12, 17)
    flow[:, :, 0], flow[:, :, 1] = 3, -2
    inside = warp(x, flow)[..., 2:, :-3]
    assert torch.allclose(inside, x[..., :-2, 3:], atol=1e-5)


def test_each_channel_has_its_own_displacement():
    x = images()
    flow = torch.zeros(2, 3, 2, 12, 17)
    flow[:, 1] = 5
    assert torch.allclose(warp(x, flow)[:, [0, 2]], x[:, [0, 2]], atol=1e-5)


def test_edges_are_repeated():
    x = images()
    far = torch.full((2, 3, 2, 12, 17), 1000.0)
    assert torch.allclose(warp(x, far), x[..., -1:, -1:].expand_as(x))
