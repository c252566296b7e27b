import pytest
import torch

from napari_mrgen.errors import MrgenError
from napari_mrgen.families.frame_prediction.config import PRESETS, FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import predictor_networks, roll_out

PUBLISHED = {"network": "published", "frames_per_pass": 1, "slices": 4}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": 48}, "the patch must be a multiple of 32, got 48"),
        ({"patch": 40, "coarse_share": 0}, "the patch must be a multiple of 16, got 40"),
        (PUBLISHED | {"patch": 48}, "the patch must be a multiple of 32, got 48"),
        (
            PUBLISHED | {"slices": 2},
            "slices must be a multiple of 4 for the published network, got 2",
        ),
        (
            PUBLISHED | {"frames_per_pass": 5},
            "frames_per_pass must be 1 for the published network, got 5",
        ),
    ],
)
def test_sizes_that_the_network_cannot_take_are_refused(values, message):
    with pytest.raises(MrgenError, match=message):
        FramePredictionConfig.parse(values)


@pytest.mark.parametrize("values", [{}, PUBLISHED])
@pytest.mark.parametrize("without", ["coarse_share", "autoencoder_steps"])
def test_the_smallest_windows_that_pass_fit_the_network(values, without):
    config = PRESETS["tiny"].config.with_values({**values, "patch": 48, without: 0})
    frames = torch.rand(1, config.context, config.slices, config.patch, config.patch)
    nothing = torch.zeros(1)
    with torch.no_grad():
        predicted = next(
            roll_out(predictor_networks(config, ())["generator"], frames, nothing, nothing)
        )
    assert predicted.shape[2:] == frames.shape[2:]
