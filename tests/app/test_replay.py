"""A run replayed from its folder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_mrgen import families
from napari_mrgen.app.info import replay
from napari_mrgen.app.inputs import gather
from napari_mrgen.cli.main import main
from napari_mrgen.engine.run.folder import RunOptions, create
from napari_mrgen.engine.run.pictures import save_picture
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume

FAMILY = families.get("frame_prediction")
CONFIG = FAMILY.preset("tiny")


@pytest.fixture
def run_dir(hearts: Path, tmp_path: Path) -> Path:
    """A run with two previews of its first stage and one of its second, of two volumes each."""
    folder = tmp_path / "run"
    inputs = gather(FAMILY, {"cine": [hearts]}, CONFIG)
    create(folder, RunOptions(FAMILY.name, "32-true"), CONFIG, inputs)
    (folder / "events.jsonl").touch()
    generator = np.random.default_rng(0)
    for name in ("0-autoencoder-00000010", "0-autoencoder-00000020", "1-gan-00000010"):
        for number in range(2):
            picture = Volume(generator.random((1, 8, 9)), "zyx", np.eye(4))
            save_picture(picture, folder / "previews" / f"{name}-{number}.png")
    return folder


def test_every_preview_is_a_frame_and_has_all_its_volumes(run_dir: Path) -> None:
    movie = replay(run_dir)
    assert movie.name == "run: autoencoder"
    assert movie.axes == "tzyx"
    assert movie.array.shape == (2, 1, 8, 2 * 9)
    assert movie.times is not None


def test_what_cannot_be_replayed_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match="fewer than two previews"):
        replay(run_dir, "gan")
    with pytest.raises(MrgenError, match="stage"):
        replay(run_dir, "prior")
    with pytest.raises(MrgenError, match="not a run folder"):
        replay(tmp_path)


def test_the_command_writes_it(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "training.gif"
    assert main(["movie", str(run_dir), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with Image.open(out) as movie:
        assert movie.n_frames == 2
