"""Phantoms: a beating heart and a brain, made in numpy on the spot, with nothing to download."""

from napari_mrgen.samples.brain import brain
from napari_mrgen.samples.heart import beating_heart

__all__ = ["beating_heart", "brain"]
