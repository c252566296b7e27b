"""The one exception that is meant for a person to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MrgenError(Exception):
    """A mistake that the user can mend: one sentence, saying what and what to do.

    The command line prints it and exits with 2; napari shows it as a notification.
    It must not derive from ``RuntimeError``: napari's generator workers swallow those.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> MrgenError:
    """Make the error for a name that is not known: the nearest known one, or else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known ones: {', '.join(known)}."
    return MrgenError(f"There is no {what} {name!r}; {hint}")
