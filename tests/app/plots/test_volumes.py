from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
from matplotlib.figure import Figure

from napari_mrgen.app.plots.volumes import _plot_planes, digest, plot_volumes
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.volumes import Comparison


def comparison(title: str, subject: str, seed: int = 0) -> Comparison:
    g = torch.Generator().manual_seed(seed)
    source, real = torch.rand(2, 12, 14, 16, generator=g)
    mask = torch.zeros(12, 14, 16)
    mask[3:9, 4:10, 5:11] = 1
    return Comparison(subject, title, source, real + 0.1, real, mask, (2.0, 1.0, 0.5))


SCORES = [
    Score(f"{title}: {method}", subject, {"PSNR in brain": 20.0 + place, "NRMSE": 0.1})
    for title in ("T2w", "T1w")
    for subject in ("a", "b")
    for place, method in enumerate(("model", "lookup table", "unchanged"))
]


@pytest.mark.parametrize("titles", [("T2w",), ("T2w", "T1w")])
def test_the_figure_is_drawn_of_one_direction_and_of_both(tmp_path: Path, titles):
    made = [comparison(title, subject) for title in titles for subject in ("a", "b")]
    plot_volumes(made, SCORES, tmp_path / "figure.png")
    assert iio.imread(tmp_path / "figure.png").std() > 10


def test_every_column_of_planes_says_what_it_shows():
    figure = Figure()
    _plot_planes(figure.subfigures(), digest([comparison("T2w", "a")])[0])
    first = figure.subfigs[0].axes[:4]
    assert [axes.get_title() for axes in first] == ["source", "synthetic", "real", "difference"]


def test_a_figure_without_pairs_shows_the_table(tmp_path: Path):
    plot_volumes(
        [], [Score("T2w: model", "a", {"cycle PSNR in brain": 30.0})], tmp_path / "figure.png"
    )
    assert iio.imread(tmp_path / "figure.png").std() > 1


def test_planes_are_of_the_first_head_and_counts_of_all():
    one, other = comparison("T2w", "a"), comparison("T2w", "b", seed=1)
    (page,) = digest([one, other])
    assert page.subject == "a"
    assert float(page.counts["real"].sum()) == float(one.mask.sum() + other.mask.sum())
    axial, coronal, sagittal = (plane["real"].shape for plane in page.planes)
    assert (axial, coronal, sagittal) == ((14, 16), (12, 16), (12, 14))
    assert page.aspects == [2.0, 4.0, 2.0]
    assert page.planes[0]["difference"] == pytest.approx(0.1, abs=1e-5)
