import pytest

from napari_mrgen.nn.schedules import one_cycle


def test_the_rate_rises_then_falls_to_nothing():
    rates = [one_cycle(i / 100) for i in range(101)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.05
    assert rates[-1] < 0.01
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
