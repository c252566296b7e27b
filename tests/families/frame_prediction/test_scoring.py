import math

import pytest
import torch

from napari_mrgen.data.cine import Cine
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.families.frame_prediction.scoring import TRIVIAL, score_cine

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
