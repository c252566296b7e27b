import pytest

from napari_mrgen.nn.schedules import linear_decay, one_cycle


def test_the_rate_rises_then_falls_to_nothing():
    rates = [one_cycle(i / 100) for i in range(101)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.05
    assert rates[-1] < 0.01
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_rate_stays_and_then_falls_in_a_line():
    rates = [linear_decay(i / 100, constant=0.5) for i in range(101)]
    assert rates[:51] == [1.0] * 51
    assert rates[75] == pytest.approx(0.5)
    assert rates[100] == 0
    warm = [linear_decay(i / 100, constant=0.5, warm_up=0.1) for i in range(101)]
    assert 0 < warm[0] < 0.05
    assert warm[:11] == sorted(warm[:11])
    assert warm[10:] == rates[10:]
    assert linear_decay(1.0, constant=1.0) == 1
