"""The part of a brain that slices are taken from, as shares of its extent across the plane."""

from __future__ import annotations


def check_extent(first: float, last: float) -> None:
    """Refuse slices that end before they begin."""
    if first >= last:
        msg = f"The first slice ({first}) must come before the last ({last})"
        raise ValueError(msg)
