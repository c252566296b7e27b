import pytest
import torch

from napari_mrgen.mri.masks import uniform, variable_density


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("make", [uniform, variable_density])
def test_the_centre_is_always_there_and_draws_follow_the_generator(make):
    mask = make(6, 64, 4, 8, generator())
    assert mask.shape == (6, 64)
    assert mask.dtype == torch.bool
    assert mask[:, 28:36].all()
    assert torch.equal(mask, make(6, 64, 4, 8, generator()))
    assert any(not torch.equal(mask, make(6, 64, 4, 8, generator(seed))) for seed in range(1, 5))


def test_uniform_frames_complete_one_another():
    mask = uniform(4, 64, 4, 0, generator())
    assert mask.sum(1).tolist() == [16] * 4
    assert mask.sum(0).tolist() == [1] * 64


def test_a_drawn_frame_has_the_lines_asked_for_most_near_the_centre():
    mask = variable_density(200, 64, 4, 4, generator())
    assert mask.sum(1).tolist() == [16] * 200
    often = mask.double().mean(0)
    assert often[18:30].mean() > 2 * often[:10].mean()
    assert not torch.equal(mask[0], mask[1])


def test_without_decay_lines_are_drawn_evenly():
    often = variable_density(2000, 32, 4, 0, generator(), decay=0).double().mean(0)
    assert often.min() > 0.2
    assert often.max() < 0.3


def test_more_calibration_than_lines_is_refused():
    with pytest.raises(ValueError, match="20 lines for calibration are more than the 64 / 4"):
        variable_density(2, 64, 4, 20, generator())
    assert variable_density(2, 64, 4, 16, generator()).sum() == 32
