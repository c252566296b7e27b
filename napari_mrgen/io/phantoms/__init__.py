"""Phantoms: a beating heart and a brain, made in numpy on the spot, with nothing to download."""

from napari_mrgen.io.phantoms.brain import brain
from napari_mrgen.io.phantoms.heart import beating_heart

__all__ = ["beating_heart", "brain"]
