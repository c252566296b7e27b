import numpy as np
import pytest

from napari_mrgen.data.scaling import Scaling, as_type, check_image, fill_note
from napari_mrgen.errors import MrgenError


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


def test_an_image_of_a_few_levels_is_not_padded() -> None:
    image = np.zeros((20, 20), np.int16)
    image[5:15, 5:15], image[0] = 1000, 1
    assert Scaling.fit(image) == Scaling(0.0, 1000.0)


@pytest.mark.parametrize("fill", [-32768, -9999, -1024, 32767])
def test_padding_changes_nothing(fill: int) -> None:
    image = np.random.default_rng(0).integers(0, 900, (30, 40)).astype(np.int16)
    image[:8] = 0
    padded = image.copy()
    padded[:8] = fill
    np.testing.assert_allclose(
        Scaling.fit(padded).apply(padded), Scaling.fit(image).apply(image), rtol=0.01
    )
    assert f"320 voxels hold {fill}" in fill_note(padded)
    assert fill_note(image) == ""


@pytest.mark.parametrize("fault", [1e30, -1e30, np.inf, np.nan])
def test_one_voxel_changes_nothing(fault: float) -> None:
    image = np.random.default_rng(0).normal(300, 40, (30, 40)).astype(np.float32)
    expected = Scaling.fit(image)
    image[3, 4] = fault
    assert Scaling.fit(image).scale == pytest.approx(expected.scale, rel=0.01)
    assert Scaling.fit(image).apply(image)[3, 4] == 0
    assert "the first at (3, 4)" in fill_note(image)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "no finite value"), (7.0, "the same value")])
def test_an_image_of_nothing_is_refused(value: float, what: str) -> None:
    with pytest.raises(MrgenError, match=what):
        check_image(np.full((3, 4), value), "scan")
