"""Slices end after they begin, for every family that cuts volumes."""

from __future__ import annotations

import pytest

from napari_mrgen import families
from napari_mrgen.errors import MrgenError


@pytest.mark.parametrize("family", ["dcgan", "vqvae"])
@pytest.mark.parametrize("last", [0.5, 0.4])
def test_slices_must_have_an_order(family: str, last: float) -> None:
    with pytest.raises(MrgenError) as caught:
        families.get(family).preset("tiny").with_values({"first": 0.5, "last": last})
    assert str(caught.value) == f"The first slice (0.5) must come before the last ({last})."
