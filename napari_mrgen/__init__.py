"""Generative models of MRI, trained and used in napari.

The names below are imported when they are first used; ``import napari_mrgen`` imports nothing.
"""

__version__ = "0.1.0"

__all__ = ["Volume", "evaluate", "families", "load", "read", "resume", "train", "write"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    if name == "families":
        return import_module("napari_mrgen.families")
    module = "napari_mrgen.volume" if name == "Volume" else "napari_mrgen.app.python"
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return ["__version__", *__all__]
