import pytest

from napari_mrgen.families.frame_prediction.tasks import one_cycle, passes_at


def test_the_rate_rises_then_falls_to_nothing():
    rates = [one_cycle(i / 100) for i in range(101)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.05
    assert rates[-1] < 0.01
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_roll_outs_grow_to_their_full_length():
    assert [passes_at(i / 8, 4) for i in range(8)] == [1, 1, 1, 2, 2, 2, 4, 4]
    assert passes_at(0.5, 1) == 1
    assert passes_at(0.999, 5) == 5
