"""The XML header of ISMRMRD: how large the grid of k-space is, and how large the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from napari_mrgen.errors import MrgenError


class Space(NamedTuple):
    """A grid and the field of view that it covers, both along ``z, y, x``."""

    matrix: tuple[int, int, int]
    extent: tuple[float, float, float]
    """In mm."""

    @property
    def pixel(self) -> tuple[float, float, float]:
        """Voxel size in mm."""
        z, y, x = (mm / count for mm, count in zip(self.extent, self.matrix, strict=True))
        return z, y, x


@dataclass(frozen=True)
class Header:
    """Of the first encoding.

    Attributes
    ----------
    encoded, image
        What was measured, often twice as wide along the readout as the image.
    centre
        Steps along z and y that go through the centre of k-space.
    trajectory
        "cartesian", "radial", "spiral", ...
    """

    encoded: Space
    image: Space
    centre: tuple[int, int]
    trajectory: str

    @property
    def middle(self) -> Space:
        """The pixels of the measured grid that lie in the image's field of view."""
        pixel = self.encoded.pixel
        counts = [
            max(1, min(round(mm / size), most))
            for mm, size, most in zip(self.image.extent, pixel, self.encoded.matrix, strict=True)
        ]
        z, y, x = counts
        return Space((z, y, x), (z * pixel[0], y * pixel[1], x * pixel[2]))


def read_header(path: Path, text: bytes | str) -> Header:
    """Read the header of a file; ``path`` is for what is said where it lacks something."""
    try:
        encoding = ElementTree.fromstring(text).find("{*}encoding")
        if encoding is None:
            raise ValueError("it has no encoding")
        encoded = _space(encoding, "encodedSpace")
        return Header(
            encoded=encoded,
            image=_space(encoding, "reconSpace"),
            centre=(
                _centre(encoding, "kspace_encoding_step_2", encoded.matrix[0]),
                _centre(encoding, "kspace_encoding_step_1", encoded.matrix[1]),
            ),
            trajectory=_text(encoding, "trajectory", "cartesian").lower(),
        )
    except (ElementTree.ParseError, ValueError) as error:
        raise MrgenError(f"{path.name} has a header of ISMRMRD that is no use: {error}.") from error


def _space(encoding: ElementTree.Element, name: str) -> Space:
    z, y, x = (int(_text(encoding, f"{name}/matrixSize/{axis}")) for axis in "zyx")
    depth, height, width = (
        float(_text(encoding, f"{name}/fieldOfView_mm/{axis}")) for axis in "zyx"
    )
    if min(z, y, x) < 1 or not min(depth, height, width) > 0:
        raise ValueError(f"its {name} has no size")
    return Space((z, y, x), (depth, height, width))


def _centre(encoding: ElementTree.Element, step: str, size: int) -> int:
    return int(_text(encoding, f"encodingLimits/{step}/center", str(size // 2)))


def _text(encoding: ElementTree.Element, name: str, default: str | None = None) -> str:
    """Return the text of an element below, by its names without their namespaces."""
    found = encoding.findtext("/".join(f"{{*}}{part}" for part in name.split("/")), default)
    if not found:
        raise ValueError(f"it has no {name}")
    return found.strip()
