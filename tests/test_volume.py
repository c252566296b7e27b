"""Volume: a value that cannot be wrong about itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from napari_mrgen.volume import Source, Volume

AFFINE = np.diag([8.0, 1.5, 1.25, 1])


def cine(**changes: Any) -> Volume:
    fields: dict[str, Any] = {"array": np.zeros((3, 2, 4, 5)), "axes": "tzyx", "affine": AFFINE}
    return Volume(**{**fields, **changes})


def test_sizes_by_letter() -> None:
    assert [cine().size(axis) for axis in "ntzyx"] == [1, 3, 2, 4, 5]


def test_spacing_is_the_length_of_the_columns() -> None:
    turned = np.array([[0, 0, 1.25, 0], [0, -1.5, 0, 0], [8, 0, 0, 0], [0, 0, 0, 1]])
    assert cine(affine=turned).spacing == cine().spacing == (8, 1.5, 1.25)


@pytest.mark.parametrize(
    ("times", "expected"), [(None, None), ((0.0, 0.04, 0.08), 0.04), ((0.0, 0.1, 0.3), 0.15)]
)
def test_frame_interval(times: tuple[float, ...] | None, expected: float | None) -> None:
    assert cine(times=times).frame_interval == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": "xyzt"}, "one of zyx"),
        ({"axes": "zyx"}, "expected 3 axes"),
        ({"affine": np.eye(3)}, r"\(4, 4\)"),
        ({"times": (0.0, 1.0)}, "expected 3, got 2"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cine(**changes)


def test_another_array_in_the_same_place() -> None:
    volume = cine(times=(0.0, 0.1, 0.2), subject="a", source=Source("here"))
    other = volume.with_array(np.ones((2, 4, 5)), "zyx", name="still")
    assert (other.axes, other.subject, other.times, other.name) == ("zyx", "a", None, "still")
    assert other.affine is volume.affine
    assert other.source == volume.source


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        cine().name = "other"  # type: ignore[misc]
