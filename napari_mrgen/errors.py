"""The one exception that is meant for a person to read."""

from __future__ import annotations


class MrgenError(Exception):
    """A mistake that the user can mend: one sentence, saying what and what to do.

    The command line prints it and exits with 2; napari shows it as a notification.
    It must not derive from ``RuntimeError``: napari's generator workers swallow those.
    """
