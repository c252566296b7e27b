import math

import numpy as np
import pytest
import torch

from napari_mrgen.data.cine import Cine
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.families.frame_prediction.config import PRESETS
from napari_mrgen.families.frame_prediction.networks import networks
from napari_mrgen.families.frame_prediction.scoring import TRIVIAL, score_cine, ventricle
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

    scores = {s.method: s.values for s in score_cine("a", series, {"oracle": oracle, **TRIVIAL}, 5)}
    assert scores["persistence"]["skill 1"] == pytest.approx(0)
    assert scores["oracle"]["PSNR 41-60"] == pytest.approx(60, abs=0.1)
    assert scores["oracle"]["SSIM 5"] == pytest.approx(1, abs=1e-3)
    assert scores["oracle"]["drift 41-60"] < 0.01
    assert set(scores) == {"oracle", *TRIVIAL, "temporal mean"}


def test_without_a_cycle_only_what_was_measured_is_judged():
    scores = {s.method: s.values for s in score_cine("a", cine(0), TRIVIAL, 5)}
    assert "PSNR 10" in scores["persistence"]
    assert "PSNR 41-60" not in scores["persistence"]


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
        covariates={"labelled_frames": tuple(range(COUNT))},
    )  # fmt: skip
    network = networks(PRESETS["tiny"], ())["generator"]
    figures = ventricle(network, series, labels, 5)
    assert figures == {"LV volume error": 0, "EF error": 0}
    maps[8:, :, 5:10] = 0
    figures = ventricle(network, series, labels, 5)
    assert figures["LV volume error"] == pytest.approx(100 * 8 / 11)
    assert figures["EF error"] == pytest.approx(50)
