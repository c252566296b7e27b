"""Generative models of MRI, trained and used in napari."""

__version__ = "0.1.0"
