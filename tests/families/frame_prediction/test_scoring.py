import math

import numpy as np
import pytest
import torch

from napari_mrgen.data.cine import Cine
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.families.frame_prediction.config import PRESETS
from napari_mrgen.families.frame_prediction.networks import predictor_networks
from napari_mrgen.families.frame_prediction.scoring import (
    BASELINES,
    score_cine,
    score_predictions,
    ventricle_errors,
)
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

COUNT = 16


def cine(cycle: int) -> Cine:
    angle = 2 * math.pi * torch.arange(COUNT) / COUNT
    place = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    frames = 0.5 + 0.4 * torch.sin(angle.view(-1, 1, 1, 1) + 6 * place)
    return Cine(frames, cycle, Scaling(0, 1))


def test_who_knows_the_future_is_best_and_persistence_has_no_skill():
    series = cine(COUNT)

    def oracle(context, cycle, count):
        start = next(i for i in range(COUNT) if torch.equal(series.frames[i], context[0]))
        return series.frames[[(start + 5 + i) % COUNT for i in range(count)]] + 1e-3

    scores = {
        s.method: s.values for s in score_cine("a", series, {"oracle": oracle, **BASELINES}, 5)
    }
    assert scores["persistence"]["skill 1"] == pytest.approx(0)
    assert scores["oracle"]["PSNR 41-60"] == pytest.approx(60, abs=0.1)
    assert scores["oracle"]["SSIM 5"] == pytest.approx(1, abs=1e-3)
    assert scores["oracle"]["drift 41-60"] < 0.01
    assert set(scores) == {"oracle", *BASELINES, "temporal mean"}


def test_without_a_cycle_only_what_was_measured_is_judged():
    scores = {s.method: s.values for s in score_cine("a", cine(0), BASELINES, 5)}
    assert "PSNR 10" in scores["persistence"]
    assert "PSNR 41-60" not in scores["persistence"]


def test_a_long_series_without_a_cycle_is_judged_far_ahead():
    frames = torch.rand(50, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    long = Cine(frames, 0, Scaling(0, 1))
    scores = {s.method: s.values for s in score_cine("a", long, BASELINES, 5)}
    assert math.isfinite(scores["persistence"]["PSNR 41-60"])


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_series_with_nothing_to_predict_is_left_out(count):
    short = Cine(cine(0).frames[:count], 0, Scaling(0, 1))
    assert list(score_cine("a", short, BASELINES, 5)) == []


def test_the_others_are_scored_beside_a_series_that_is_too_short(tmp_path):
    references, affine = [], np.diag([1.25, 1.5, 9.0, 1.0])[:, [2, 1, 0, 3]]
    for name, frames in {"a": cine(0).frames, "b": cine(0).frames[:5]}.items():
        volume = Volume((200 * frames).numpy().astype(np.uint8), "tzyx", affine)
        nifti.write(volume, tmp_path / f"{name}.nii")
        references.append(Reference(tmp_path / f"{name}.nii", name))
    split = Split(train=("c",), test=("a", "b"))
    inputs = Inputs({"cine": tuple(references)}, split)
    scores = score_predictions(
        predictor_networks(PRESETS["tiny"].config, ()), PRESETS["tiny"].config, inputs
    )
    assert {s.subject for s in scores} == {"a"}


@pytest.mark.parametrize(("cycle", "judged"), [(8, {"PSNR 10"}), (10, {"PSNR 5"})])
def test_frames_shown_count_nowhere(cycle, judged):
    """Of a short cycle some of the next frames have been shown: nothing is predicted there."""
    frames = cine(0).frames[:cycle]

    def periodic(context, cycle, count):
        start = next(i for i in range(cycle) if torch.equal(frames[i], context[0]))
        shown = {(start + i) % cycle for i in range(5)}
        places = [(start + 5 + i) % cycle for i in range(count)]
        return torch.stack([frames[i] + (0 if i in shown else 0.01) for i in places])

    series = Cine(frames, cycle, Scaling(0, 1))
    values = next(score_cine("a", series, {"periodic": periodic}, 5)).values
    assert values["PSNR 1"] == pytest.approx(40, abs=0.1)
    assert {"PSNR 5", "PSNR 10"} & set(values) == judged
    assert all(math.isfinite(value) for value in values.values())


def test_frames_shown_do_not_count_far_ahead():
    series = cine(COUNT)
    asked = []

    def method(context, cycle, count):
        asked.append((context.shape[0], cycle, count))
        return context[-1:].expand(count, -1, -1, -1)

    list(score_cine("a", series, {"method": method}, 5, windows=1))
    assert asked == [(5, COUNT, 60)]


def test_a_network_that_moves_nothing_keeps_the_ventricle():
    series = cine(COUNT)
    maps = np.zeros(series.frames.shape, np.uint8)
    maps[:, :, 5:15, 5:15] = 3
    labels = Volume(
        maps, "tzyx", np.diag([10.0, 10.0, 10.0, 1.0]), "labels",
        labelled_frames=tuple(range(COUNT)),
    )  # fmt: skip
    network = predictor_networks(PRESETS["tiny"].config, ())["generator"]
    figures = ventricle_errors(network, series, labels, 5)
    assert figures == {"LV volume error": 0, "EF error": 0}
    assert ventricle_errors(network, series, labels, COUNT) == {}
    maps[8:, :, 5:10] = 0
    figures = ventricle_errors(network, series, labels, 5)
    assert figures["LV volume error"] == pytest.approx(100 * 8 / 11)
    assert figures["EF error"] == pytest.approx(50)
