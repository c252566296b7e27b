from __future__ import annotations

import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.families.dcgan.config import PRESETS


def test_batch_normalisation_needs_two_slices() -> None:
    with pytest.raises(MrgenError, match="batch_size must be 2 or more, got 1"):
        PRESETS["published"].config.with_values({"batch_size": 1})
    assert PRESETS["published"].config.with_values({"batch_size": 2}).batch_size == 2
    assert PRESETS["quick"].config.with_values({"batch_size": 1}).batch_size == 1
