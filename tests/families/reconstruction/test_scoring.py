"""What is scored, and beside what."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.data.cine import load
from napari_mrgen.families.reconstruction.scoring import (
    EDGE,
    scanned_frames,
    score_reconstructions,
    scored_frames,
)

FAMILY = families.get("reconstruction")
TINY = FAMILY.preset("tiny").with_values({"network": "unet2d1d", "depth": 2, "width": 2})


@pytest.mark.parametrize("roles", [("cine",), ("undersampled", "truth")])
def test_baselines_are_called_what_they_are(roles: tuple[str, ...], hearts: Path) -> None:
    """Averages of magnitude images are not view sharing."""
    inputs = gather(FAMILY, {role: [hearts] for role in roles}, TINY)
    scores = list(score_reconstructions(FAMILY.networks(TINY, ()), TINY, inputs))
    methods = {one.method for one in scores}
    assert ("view sharing 9" in methods) == (roles == ("cine",))
    assert ("average of 9 frames" in methods) == (roles != ("cine",))
    assert {one.subject for one in scores} == set(inputs.split.test)


def test_one_cycle_is_scored_amid_others(hearts: Path) -> None:
    (path, *_) = sorted(hearts.glob("*.nii.gz"))
    inputs = gather(FAMILY, {"cine": [path]}, TINY)
    cine = load(inputs.train("cine")[0].read())
    assert cine.cycle
    frames = scanned_frames(cine)
    assert len(frames) == cine.cycle + 2 * EDGE
    torch.testing.assert_close(scored_frames(frames), cine.frames[: cine.cycle])
    torch.testing.assert_close(frames[0], cine.frames[cine.cycle - EDGE])
    short = frames[: 2 * EDGE]
    torch.testing.assert_close(scored_frames(short), short)
