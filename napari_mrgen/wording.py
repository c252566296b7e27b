"""Numbers as a person would say them: sizes, durations, large counts; names on one line."""

from __future__ import annotations


def format_size(count: float) -> str:
    """Say a number of bytes, in multiples of 1024.

    Examples
    --------
    >>> format_size(512), format_size(3 << 20), format_size(1.5 * 2**30)
    ('512 bytes', '3 MiB', '1.5 GiB')
    """
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{_rounded(count / factor)} {unit}"
    return f"{count:.0f} bytes"


def format_duration(seconds: float) -> str:
    """Say a duration, as exactly as its length asks for.

    Examples
    --------
    >>> format_duration(42), format_duration(185), format_duration(1500), format_duration(9000)
    ('42 s', '3 min 5 s', '25 min', '2 h 30 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    if minutes >= 10:
        return f"{minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_count(count: float) -> str:
    """Say a large number.

    Examples
    --------
    >>> format_count(91_214), format_count(2_100_000)
    ('91,214', '2.1 million')
    """
    for word, factor in (("million million", 1e12), ("billion", 1e9), ("million", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {word}"
    return f"{count:,.0f}"


def count_of(count: int, noun: str) -> str:
    """Say how many there are of something.

    Examples
    --------
    >>> count_of(1, "file"), count_of(2, "file")
    ('1 file', '2 files')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def printable(name: str) -> str:
    r"""Return the name of a file on one line, in characters that can be shown and encoded.

    Bytes that are not UTF-8, line breaks and the like are escaped.

    Examples
    --------
    >>> import os
    >>> printable("Zürich 1"), printable(os.fsdecode(b"caf\xe9")), printable("two\nlines")
    ('Zürich 1', 'caf\\xe9', 'two\\nlines')
    """
    undecoded = range(0xDC80, 0xDD00)
    return "".join(
        one if one.isprintable()
        else f"\\x{ord(one) - 0xDC00:02x}" if ord(one) in undecoded
        else one.encode("unicode_escape").decode()
        for one in name
    )  # fmt: skip
