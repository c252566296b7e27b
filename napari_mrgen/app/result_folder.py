"""Generate for a folder of scans: resumable, and a scan that fails does not end the rest."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from PIL import Image

from napari_mrgen.app.cases import Case
from napari_mrgen.app.generate import VolumeGenerator, collect
from napari_mrgen.app.outputs import check_folder, save, slug
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.failures import is_out_of_memory
from napari_mrgen.engine.family import GenerateConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import is_own_record, sidecar_of
from napari_mrgen.io.files import drafted, open_table
from napari_mrgen.io.movies import png_text
from napari_mrgen.io.nifti import write
from napari_mrgen.volume import Volume

Form = Literal["png", "nifti"]
SUFFIXES: Mapping[Form, str] = {"png": ".png", "nifti": ".nii.gz"}
_WHITE = 2**16 - 1

TABLE, SIDECAR = "scans.csv", "scans.json"
SAMPLES_TABLE, SAMPLES_SIDECAR = "samples.csv", "samples.json"
COLUMNS = ("scan", "results", "problem")
SUFFIX = ".nii.gz"
INPUTS = "inputs"
_BETWEEN = "; "
"""Separates the names of a scan's results."""
_LONGEST = 200
"""Bytes of a result's name; file systems allow 255, of which a draft and the suffix need some."""


@dataclass(frozen=True)
class ScanResult:
    """Results of one scan, or why there are none."""

    scan: Path
    number: int
    """From 1 on."""
    total: int
    results: tuple[Path, ...] = ()
    problem: str = ""
    is_kept: bool = False
    """Whether the results were there already."""


def generate_folder(
    generator: VolumeGenerator,
    cases: Sequence[Case],
    config: GenerateConfig,
    folder: ResultFolder,
    control: Control | None = None,
) -> Iterator[ScanResult]:
    """Generate for every scan, and yield its results or its problem; no scan raises.

    A scan that has results is left as it is; one that failed before is tried again.
    """  # fmt: skip
    control = control or Control()
    with folder:
        for number, case in enumerate(cases, 1):
            existing = folder.results_of(case)
            if existing:
                yield ScanResult(case.scan, number, len(cases), existing, is_kept=True)
                continue
            results, problem = _try(generator, case, config, folder, control)
            if control.is_stopped:
                return
            folder.note(case, results, problem)
            yield ScanResult(case.scan, number, len(cases), results, problem)


def _try(
    generator: VolumeGenerator,
    case: Case,
    config: GenerateConfig,
    folder: ResultFolder,
    control: Control,
) -> tuple[tuple[Path, ...], str]:
    """Return the files of a scan, or the problem in one line."""
    if case.problem:
        return (), case.problem
    try:
        written: list[Path] = []
        for volume in collect(generator.generate(case.inputs, config, control)):
            written.append(folder.save(case, volume, written))
        return tuple(written), ""
    except Exception as error:  # noqa: BLE001 - reported, and the next scan follows
        return (), explain_failure(error)


def explain_failure(error: Exception) -> str:
    """Say in one line why a scan has no results."""
    if isinstance(error, MrgenError):
        return str(error)
    if is_out_of_memory(error):
        return "There is not enough memory for this scan; use a smaller tile or another device."
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@dataclass
class ResultFolder:
    """Where results go, with a table of the scans and a sidecar; a context manager.

    A scan enters the table once all its results are written, so the table is whole at any
    moment. A folder of another model or of other settings is refused.

    Parameters
    ----------
    record
        What all results share: the model, the settings and, where all are known, the inputs.
    overwrite
        Generate everything again.
    remedy
        What to do about a folder that is refused.
    """

    path: Path
    record: Mapping[str, Any]
    overwrite: bool = False
    remedy: str = "choose another folder, or allow to overwrite it"
    _rows: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_folder(self.path)
        if self.overwrite or not self.path.is_dir() or not any(self.path.iterdir()):
            return
        self._check_record()
        self._rows = self._read_table()

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        with drafted(self.path / SIDECAR) as draft:
            draft.write_text(json.dumps(self.record, indent=2, default=str) + "\n", "utf-8")
        with (
            drafted(self.path / TABLE) as draft,
            open_table(draft, "w") as file,
        ):
            csv.writer(file).writerows([COLUMNS, *((s, *row) for s, row in self._rows.items())])
        self._file = open_table(self.path / TABLE, "a")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def results_of(self, case: Case) -> tuple[Path, ...]:
        """Return the results of a scan that is in the table; none where one is gone."""
        row = self._rows.get(str(case.scan))
        if row is None:
            return ()
        # The names of scans may hold what stands between those of results.
        names = re.split(re.escape(SUFFIX + _BETWEEN), row[0])
        paths = tuple(self.path / (name if name is names[-1] else name + SUFFIX) for name in names)
        return paths if all(path.is_file() for path in paths) else ()

    def save(self, case: Case, volume: Volume, taken: Collection[Path] = ()) -> Path:
        """Write a result under the name of its scan and its own.

        It goes round a JSON file that somebody else wrote, unless that may be overwritten.
        """
        own = f"-{slug(volume.name.removeprefix(case.scan_name))}"
        name = _shortened(case.name, _LONGEST - len(own)) + own
        names = (f"{name}-{n}" if n > 1 else name for n in itertools.count(1))
        paths = (self.path / case.folder / f"{name}{SUFFIX}" for name in names)
        path = next(path for path in paths if path not in taken and self._is_free(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write(volume, path, overwrite=self.overwrite)
        return path

    def _is_free(self, path: Path) -> bool:
        sidecar = sidecar_of(path)
        return self.overwrite or not sidecar.exists() or is_own_record(sidecar)

    def note(self, case: Case, results: Sequence[Path], problem: str) -> None:
        names = _BETWEEN.join(path.relative_to(self.path).as_posix() for path in results)
        csv.writer(self._file).writerow((case.scan, names, problem))
        self._file.flush()

    def _check_record(self) -> None:
        try:
            known = json.loads((self.path / SIDECAR).read_text(encoding="utf-8"))
            same = all(_what(known, key) == _what(self.record, key) for key in _COMPARED)
            same &= known.get(INPUTS) in (None, self.record.get(INPUTS))
        except (OSError, ValueError, TypeError):
            msg = f"{self.path} is not empty and was not made by this program; {self.remedy}."
            raise MrgenError(msg) from None
        if not same:
            msg = (
                f"{self.path} holds results of another model or of other settings or inputs; "
                f"{self.remedy}."
            )
            raise MrgenError(msg)

    def _read_table(self) -> dict[str, tuple[str, ...]]:
        """Return the rows of scans that have results; of two of a scan the later one."""
        try:
            with open_table(self.path / TABLE) as file:
                rows = list(csv.DictReader(file))
            return {row["scan"]: (row["results"], "") for row in rows if row["results"]}
        except (OSError, KeyError, csv.Error):
            return {}


_COMPARED = ("family", "model", "configuration")


def _what(record: Mapping[str, Any], key: str) -> Any:
    """Return what must be the same; a model may have moved, and pictures may be marked or not."""
    if key == "configuration":
        return {name: value for name, value in record[key].items() if name != "mark_synthetic"}
    return record[key]["sha256"] if key == "model" else record[key]


def _shortened(name: str, most: int) -> str:
    """Return a name of at most so many bytes; the end of a longer one becomes a digest of it."""
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    while len(os.fsencode(name)) > most - len(digest) - 1:
        name = name[:-1]
    return f"{name}-{digest}"


# ---------------------------------------------------------------- samples


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
        self._file = open_table(self.path / SAMPLES_TABLE, "w")
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
            self._write_sidecar(volume)
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
            write(sample, path, sidecar=False)
        else:
            grey = np.rint(array[0].clip(0, 1) * _WHITE).astype(np.uint16)
            Image.fromarray(grey).save(path, "PNG", pnginfo=png_text(volume.provenance))

    def _write_sidecar(self, volume: Volume) -> None:
        """Write what all samples share: provenance, pixel size and intensity scale."""
        across, high, wide = volume.spacing
        is_known = volume.spacing_known
        facts: dict[str, Any] = {
            **(volume.provenance or {}),
            "table": SAMPLES_TABLE,
            "slice_mm": across if is_known else None,
            "pixel_mm": [high, wide] if is_known else None,
            "values": self._values(volume),
        }
        text = json.dumps(facts, indent=2, default=str) + "\n"
        (self.path / SAMPLES_SIDECAR).write_text(text, encoding="utf-8")

    def _values(self, volume: Volume) -> str:
        if volume.axes != "nzyx":
            return "as in the source"
        return f"0 to {_WHITE} stand for 0 to 1" if self._form_of(volume) == "png" else "0 to 1"
