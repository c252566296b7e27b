from __future__ import annotations

import pytest
import torch

from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.families.dcgan.tasks import heard_at, hide, rate_at, size_at


def test_training_goes_from_coarse_to_fine() -> None:
    config = DcganConfig(size=128, coarse_share=0.6)
    sizes = [size_at(step / 10, config) for step in range(10)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 32
    assert sizes[3] == 64
    assert sizes[6] == 128
    assert size_at(0.0, config.with_values({"coarse_share": 0.0})) == 128


@pytest.mark.parametrize("constant", [0.0, 0.6, 1.0])
def test_the_rate_never_rises_and_never_ends(constant: float) -> None:
    rates = [rate_at(step / 100, constant) for step in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1
    assert min(rates) > 0.04


def test_the_discriminator_is_heard_late_and_then_wholly() -> None:
    heard = [heard_at(step / 100, 0.4) for step in range(100)]
    assert heard == sorted(heard)
    assert heard[40] == 0
    assert 0 < heard[45] < 1
    assert heard[60] == 1
    assert heard_at(0.0, 0.0) == 1


def test_age_and_sex_are_hidden_together_and_the_level_never() -> None:
    told = torch.tensor([[0.3, 0.4, 1.0, 1.0]]).expand(1000, 4)
    found = hide(told, 0.2, torch.Generator().manual_seed(0))
    hidden = (found[:, 1:] == 0).all(1)
    assert 0.15 < hidden.float().mean() < 0.25
    torch.testing.assert_close(found[~hidden], told[~hidden])
    torch.testing.assert_close(found[:, 0], told[:, 0])
