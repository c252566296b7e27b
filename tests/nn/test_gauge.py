import pytest
import torch

from napari_mrgen.nn.gauge import Gauge


def test_the_mean_of_equal_values_is_their_value():
    gauge = Gauge(10)
    for _ in range(5):
        gauge(torch.tensor(3.0))
        assert gauge.mean == pytest.approx(3)


def test_it_settles_after_its_length():
    gauge = Gauge(10)
    settled = []
    for _ in range(20):
        gauge(torch.tensor(1.0))
        settled.append(gauge.is_settled)
    assert settled.index(True) == pytest.approx(10, abs=1)


def test_it_follows_and_is_saved():
    gauge, other = Gauge(4), Gauge(4)
    for value in (5.0, 1.0, 1.0, 1.0):
        gauge(torch.tensor(value))
    assert 1 < gauge.mean < 5
    other.load_state_dict(gauge.state_dict())
    assert other.mean == gauge.mean
