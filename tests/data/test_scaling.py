import numpy as np
import pytest

from napari_mrgen.data.scaling import Scaling, as_type


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_invert_after_apply_is_the_identity(dtype):
    values = (np.random.default_rng(0).random((4, 9, 11)) * 200).astype(dtype)
    scaling = Scaling.fit(values)
    assert scaling.invert(scaling.apply(values)) == pytest.approx(values, rel=1e-5, abs=1e-4)


def test_the_percentile_becomes_one_and_brighter_values_are_kept():
    values = np.arange(1001.0)
    scaled = Scaling.fit(values).apply(values)
    assert np.percentile(scaled, 99.5) == pytest.approx(1)
    assert scaled.max() > 1


def test_negative_values_shift_the_scale():
    scaled = Scaling.fit(np.linspace(-50, 50, 1001)).apply(np.array([-50.0]))
    assert scaled[0] == 0


@pytest.mark.parametrize("values", [np.zeros((3, 4)), np.full(5, np.nan), np.full((2, 2), 7.0)])
def test_empty_images_stay_finite(values):
    assert np.isfinite(Scaling.fit(values).apply(values)).all()


def test_one_bright_pixel_on_nothing_still_has_a_scale():
    values = np.zeros(10_000)
    values[5] = 8
    assert Scaling.fit(values).apply(values).max() == 1


def test_what_is_not_finite_becomes_zero():
    values = np.array([1.0, np.nan, np.inf, 4.0])
    assert Scaling(0.0, 4.0).apply(values).tolist() == [0.25, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_a_result_is_of_its_sources_type_and_within_its_limits(dtype):
    values = np.array([-1e9, -0.6, 0.4, 99.6, 1e9], np.float32)
    found = as_type(values, np.dtype(dtype))
    assert found.dtype == dtype
    if found.dtype.kind == "f":
        assert found.tolist() == values.tolist()
    else:
        limits = np.iinfo(dtype)
        middle = [max(-1, limits.min), 0, 100]
        assert found.tolist() == [limits.min, *middle, limits.max]
