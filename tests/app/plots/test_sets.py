import imageio.v3 as iio
import pytest
import torch

from napari_mrgen.app.plots.sets import plot_sets
from napari_mrgen.metrics.distributions import ImageSet, Sets
from napari_mrgen.metrics.scoreboard import WHOLE_SET, Score, tabulate

BOARD = tabulate([Score(name, WHOLE_SET, {"KID x1000": 1.0}) for name in ("model", "mean image")])


def images(count: int, seed: int, **known: object) -> ImageSet:
    pixels = torch.rand(count, 32, 32, generator=torch.Generator().manual_seed(seed))
    return ImageSet(pixels, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize("has_train", [True, False])
def test_the_figure_is_drawn_of_many_slices_and_of_few(tmp_path, has_train):
    held_out = images(12, 0, subjects=tuple("aabbccddeeff"), levels=torch.linspace(0, 1, 12))
    made = {"model": images(40, 1), "reconstruction": images(1, 2)}
    train = images(9, 3, subjects=tuple("ghighighi")) if has_train else None
    path = tmp_path / "figure.png"
    plot_sets(Sets(made, held_out, train), BOARD, path)
    assert iio.imread(path).std() > 10
