"""Write thousands of samples to a folder: files, one table, one sidecar, in constant memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from PIL import Image

from napari_mrgen.app.outputs import check_folder, save, slug
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.nifti import write as write_nifti
from napari_mrgen.volume import Volume

Form = Literal["png", "nifti"]
SUFFIXES: Mapping[Form, str] = {"png": ".png", "nifti": ".nii.gz"}
TABLE, SIDECAR = "samples.csv", "samples.json"
_WHITE = 2**16 - 1


class SampleFolder:
    """Folder that samples are written to as they come; a context manager.

    A sample enters the table once its file is written, so the table is whole at any moment.
    """

    def __init__(self, path: Path, form: Form = "png", *, overwrite: bool = False) -> None:
        check_folder(path)
        if not overwrite and path.is_dir() and any(path.iterdir()):
            msg = f"{path} is not empty; choose another folder or allow to overwrite its files."
            raise MrgenError(msg)
        self.path, self.form, self.count = path, form, 0
        self._columns: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self._file = (self.path / TABLE).open("w", newline="", encoding="utf-8")
        self._table = csv.writer(self._file)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def save(self, volume: Volume) -> tuple[Path, ...]:
        """Write a block of samples, each to its own file; any other result to one file."""
        samples = volume.samples
        if samples is None:
            suffix = SUFFIXES[self._form_of(volume)]
            return save(volume, self.path / f"{slug(volume.name)}{suffix}")
        if not self._columns:
            self._columns = tuple(samples)
            self._table.writerow(("file", *self._columns))
            self._describe(volume)
        written = []
        form = self._form_of(volume)
        for place, row in enumerate(zip(*samples.values(), strict=True)):
            index = samples["index"][place]
            path = self.path / f"sample-{index:06d}{SUFFIXES[form]}"
            self._write(volume, place, path, form)
            self._table.writerow((path.name, *row))
            written.append(path)
        self._file.flush()
        self.count += len(written)
        return tuple(written)

    def _form_of(self, volume: Volume) -> Form:
        """Return the form of each sample: only one slice makes a picture."""
        is_slice = volume.axes == "nzyx" and volume.size("z") == 1
        return self.form if is_slice else "nifti"

    def _write(self, volume: Volume, place: int, path: Path, form: Form) -> None:
        array = volume.array[place]
        if form == "nifti":
            name = path.name.removesuffix(SUFFIXES[form])
            axes = volume.axes.removeprefix("n")
            sample = volume.with_array(array, axes, name=name, samples=None, times=volume.times)
            write_nifti(sample, path, sidecar=False)
        else:
            grey = np.rint(array[0].clip(0, 1) * _WHITE).astype(np.uint16)
            Image.fromarray(grey).save(path, "PNG")

    def _describe(self, volume: Volume) -> None:
        """Write what all samples share: provenance, pixel size and intensity scale."""
        across, high, wide = volume.spacing
        is_known = volume.spacing_known
        facts: dict[str, Any] = {
            **(volume.provenance or {}),
            "table": TABLE,
            "slice_mm": across if is_known else None,
            "pixel_mm": [high, wide] if is_known else None,
            "values": self._values(volume),
        }
        text = json.dumps(facts, indent=2, default=str) + "\n"
        (self.path / SIDECAR).write_text(text, encoding="utf-8")

    def _values(self, volume: Volume) -> str:
        if volume.axes != "nzyx":
            return "as in the source"
        return f"0 to {_WHITE} stand for 0 to 1" if self._form_of(volume) == "png" else "0 to 1"
