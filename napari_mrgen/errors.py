"""The one exception that is meant for a person to read."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class MrgenError(Exception):
    """A mistake that the user can mend: one sentence, saying what and what to do.

    The command line prints it and exits with 2; napari shows it as a notification.
    It must not derive from ``RuntimeError``: napari's generator workers swallow those.
    """


def need(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an optional extra; say how to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        msg = f"{what} needs {error.name}; install it with: pip install 'napari-mrgen[{extra}]'"
        raise MrgenError(msg) from None


def unknown(what: str, name: str, names: Iterable[str]) -> MrgenError:
    """Make the error for a name that is not among ``names``.

    Examples
    --------
    >>> print(unknown("preset", "quik", ["tiny", "quick"]))
    There is no preset 'quik'; did you mean 'quick'?
    """
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known ones: {', '.join(names)}."
    return MrgenError(f"There is no {what} {name!r}; {hint}")
