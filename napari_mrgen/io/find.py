"""Find the scans under a path without reading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_mrgen.volume import Volume


@dataclass(frozen=True)
class Reference:
    """A scan on disk: where it is and whose it is; read when it is needed.

    ``labels`` are the label maps that belong to it, if any (for a cine of ACDC: of the ED and ES
    frames).
    """

    path: Path
    subject: str
    labels: tuple[Path, ...] = ()

    def read(self) -> Volume:
        raise NotImplementedError

    def read_labels(self) -> Volume | None:
        """Return labels on the image's axes; ``covariates["labelled_frames"]`` lists the frames."""
        raise NotImplementedError


def find(path: Path, axes: tuple[str, ...] = ()) -> tuple[Reference, ...]:
    """List the images under a file or folder, sorted by subject; label maps hang on their image.

    ``axes`` keeps only images with these axes (``("tzyx",)`` finds cines), from their headers.
    """
    raise NotImplementedError
