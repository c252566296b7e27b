"""The phantoms: exact labels, a heart that beats, seeds that differ, no waiting."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from napari_mrgen.samples import beating_heart, brain

RV, MYOCARDIUM, LV = 1, 2, 3


def volumes_of(labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], label: int) -> list[int]:
    return [int((frame == label).sum()) for frame in labels]


@pytest.mark.parametrize("seed", range(5))
def test_the_labels_hold_the_ejection_fraction(seed: int) -> None:
    cycle = beating_heart(seed)[0].cardiac_cycle
    labels = beating_heart(seed)[1]
    volume = volumes_of(labels.array, LV)
    ejected = 1 - min(volume) / volume[cycle.ed_frame]
    assert ejected == pytest.approx(cycle.ejection_fraction, abs=0.03)
    assert int(np.argmin(volume)) == pytest.approx(cycle.es_frame, abs=1)
    assert volumes_of(labels.array, RV)[0] > 1.4 * min(volumes_of(labels.array, RV))
    muscle = volumes_of(labels.array, MYOCARDIUM)
    assert max(muscle) < 1.15 * min(muscle), "muscle is not compressed"


def test_the_beat_is_periodic_and_smooth() -> None:
    image, labels = beating_heart(frames=60, slices=2)
    volume = volumes_of(labels.array, LV)
    steps = [abs(b - a) for a, b in pairwise([*volume, volume[0]])]
    assert max(steps) < 0.12 * max(volume)
    assert steps[-1] <= max(steps[:-1])
    assert image.times is not None
    last = image.times[-1] + image.times[1]
    assert last == pytest.approx(image.cardiac_cycle.duration, rel=1e-3)


def test_contrast_is_that_of_balanced_ssfp() -> None:
    image, labels = beating_heart(2)
    means = {label: image.array[labels.array == label].mean() for label in (RV, MYOCARDIUM, LV)}
    assert means[LV] > 2 * means[MYOCARDIUM]
    assert means[RV] > 2 * means[MYOCARDIUM]


def test_noise_is_rician() -> None:
    """In air, the mean of the magnitude is sigma times the square root of pi / 2."""
    image, _ = beating_heart(noise=0.05)
    air = image.array[:, :, :2, :4].astype(float)
    assert air.mean() / air.std() == pytest.approx(
        np.sqrt(np.pi / 2) / np.sqrt(2 - np.pi / 2), rel=0.1
    )


def test_any_shape_and_every_seed_its_own() -> None:
    image, labels = beating_heart(7, frames=5, slices=3, size=50)
    assert image.array.shape == labels.array.shape == (5, 3, 50, 50)
    again, _ = beating_heart(7, frames=5, slices=3, size=50)
    other, _ = beating_heart(8, frames=5, slices=3, size=50)
    np.testing.assert_array_equal(image.array, again.array)
    assert image.cardiac_cycle != other.cardiac_cycle
    assert image.subject != other.subject


def test_brain_contrasts_are_those_of_t1_and_t2() -> None:
    t1, t2 = brain()
    assert t1.array.shape == t2.array.shape
    np.testing.assert_array_equal(t1.affine, t2.affine)
    ventricle = (slice(28, 31), slice(48, 56), slice(36, 39))
    white = (slice(28, 31), slice(56, 62), slice(24, 27))
    assert t1.array[ventricle].mean() < 0.5 * t1.array[white].mean()
    assert t2.array[ventricle].mean() > 1.5 * t2.array[white].mean()
    assert not np.array_equal(brain(1)[0].array, t1.array)


def test_they_are_made_on_the_spot() -> None:
    for make in (beating_heart, brain):
        make()
        start = time.process_time()
        make()
        assert time.process_time() - start < 2
