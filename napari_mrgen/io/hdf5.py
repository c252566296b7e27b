"""Opening HDF5 files, with faults in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_mrgen.errors import MrgenError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file to read; what is wrong with it, here or while it is read, is said in words."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise MrgenError(f"{path} cannot be opened: {error.strerror}.") from error
    except (OSError, KeyError) as error:
        msg = f"{path.name} is damaged or no HDF5 file; copy or download it again."
        raise MrgenError(msg) from error
