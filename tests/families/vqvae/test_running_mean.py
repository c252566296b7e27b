import pytest
import torch

from napari_mrgen.families.vqvae.tasks import RunningMean


def test_the_mean_of_equal_values_is_their_value():
    running = RunningMean(10)
    for _ in range(5):
        running(torch.tensor(3.0))
        assert running.mean == pytest.approx(3)


def test_it_settles_after_its_length():
    running = RunningMean(10)
    settled = []
    for _ in range(20):
        running(torch.tensor(1.0))
        settled.append(running.is_settled)
    assert settled.index(True) == pytest.approx(10, abs=1)


def test_it_follows_and_is_saved():
    running, other = RunningMean(4), RunningMean(4)
    for value in (5.0, 1.0, 1.0, 1.0):
        running(torch.tensor(value))
    assert 1 < running.mean < 5
    other.load_state_dict(running.state_dict())
    assert other.mean == running.mean
