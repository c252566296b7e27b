"""Numbers as a person would say them."""

from __future__ import annotations

import pytest

from napari_mrgen.wording import format_count, format_duration, format_size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (2048, "2 KiB"), (3e8, "286 MiB"), (1.23e9, "1.15 GiB"), (4e12, "3.64 TiB")],
)
def test_sizes(count: float, text: str) -> None:
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (91_214, "91,214"), (2_100_000, "2.1 million"), (3.4e9, "3.4 billion")],
)
def test_large_numbers(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (42, "42 s"), (185, "3 min 5 s"), (600, "10 min"), (9000, "2 h 30 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
