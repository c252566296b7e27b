"""What a training would take: every file below its paths, with what is made of it and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_mrgen.app.inputs import IF_LABELS, Paths
from napari_mrgen.data.heads.sessions import sessions_of
from napari_mrgen.data.inputs import Inputs, LeftOut
from napari_mrgen.engine.family import Family
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.contents import content_of, copies_among
from napari_mrgen.io.datasets import acdc
from napari_mrgen.io.find import Reference, best_versions, files_in, scans_among
from napari_mrgen.io.formats import fault_of, image_info
from napari_mrgen.io.naming import home_of, is_label, is_label_name


@dataclass(frozen=True)
class ScanRow:
    """One scan of a training, and the side of the split that it is on."""

    role: str
    path: Path
    subject: str
    why_subject: str
    side: str
    """``train`` or ``held_out``."""


@dataclass(frozen=True)
class Doubt:
    """What a user should look at before the training."""

    path: Path
    what: str


@dataclass(frozen=True)
class DataReport:
    """All files that a training was given: those that it takes, and the others."""

    scans: tuple[ScanRow, ...]
    left_out: tuple[LeftOut, ...]
    doubts: tuple[Doubt, ...]
    pairs: tuple[Mapping[str, Path | None], ...] | None = None
    """Scans of one head by contrast, for a family that trains on pairs."""

    def facts(self) -> dict[str, Any]:
        """Return it as plain values, for programs."""
        values = asdict(self)
        if self.pairs is None:
            del values["pairs"]
        return values


def report_data(family: Family, paths: Paths, inputs: Inputs) -> DataReport:
    """Tell what becomes of each file below the paths of a training."""
    scans = [(role, scan) for role, own in inputs.references.items() for scan in own]
    sides = dict.fromkeys(inputs.split.train, "train")
    sides |= dict.fromkeys(inputs.split.test, "held_out")
    rows = tuple(
        ScanRow(role, scan.path, scan.subject, scan.why_subject or "name", sides[scan.subject])
        for role, scan in scans
        if scan.subject in sides
    )
    neither = [
        LeftOut(scan.path, f"{scan.subject} is on neither side of the split.")
        for _, scan in scans
        if scan.subject not in sides
    ]
    left_out = (*inputs.left_out, *neither)
    known = {one.path for one in left_out} | {scan.path for _, scan in scans}
    known |= {path for _, scan in scans for path in scan.slices}
    rest = [one for root in _roots(paths) for one in _others(family, root, known, inputs)]
    pairs, questions = _pairs(family, inputs)
    doubts = [*questions, *(doubt for _, scan in scans for doubt in _doubts(scan))]
    copies = copies_among(scan.path for _, scan in scans if not scan.slices)
    doubts += [Doubt(copy, f"It holds the same image as {of.name}.") for copy, of in copies.items()]
    every = {one.path: one for one in (*rest, *left_out)}
    return DataReport(rows, tuple(every.values()), tuple(dict.fromkeys(doubts)), pairs)


def _roots(paths: Paths) -> list[Path]:
    return list(dict.fromkeys(Path(path) for own in paths.values() for path in own))


def _others(
    family: Family, root: Path, known: Collection[Path], inputs: Inputs
) -> Iterator[LeftOut]:
    """Yield the images below a folder that are none of those known, and why they are not taken."""
    if not root.is_dir():
        return
    searched = set(files_in(root))
    every = scans_among(files_in(root, all_folders=True))
    versions = set(best_versions(every))
    taken = [scan for own in inputs.references.values() for scan in own]
    owners = {label: scan for scan in taken for label in scan.labels}
    cines = {home_of(scan.path) for scan in taken if acdc.is_cine(scan.path)}
    for path in every:
        if path in known:
            continue
        if path not in searched:
            why = "A BIDS data set keeps this folder apart; give the folder itself to take it."
        elif fault := fault_of(path):
            why = fault
        elif path in owners:
            why = f"It is the label map of {owners[path].path.name}."
        elif is_label(path, root):
            why = f"It is a label map by {'its name' if is_label_name(path) else 'its folder'}."
        elif acdc.is_frame(path) and home_of(path) in cines:
            why = "It is a frame of a cine that is taken."
        elif path not in versions:
            why = "Another version of the same scan is taken."
        else:
            why = _unfit(family, path)
        yield LeftOut(path, why)


def _unfit(family: Family, path: Path) -> str:
    specs = [spec for spec in family.train_inputs if spec.kind == "image"]
    info = image_info(path)
    if not any(info.axes in spec.axes for spec in specs):
        wanted = " or ".join(sorted({axes for spec in specs for axes in spec.axes}))
        return " ".join([f"It has the axes {info.axes}; {wanted} are needed.", *info.doubts])
    if any(spec.named for spec in specs):
        titles = " and ".join(spec.title for spec in specs if spec.named)
        return f"By its name it has another contrast than {titles}."
    return "It is not used."


def _pairs(
    family: Family, inputs: Inputs
) -> tuple[tuple[Mapping[str, Path | None], ...] | None, list[Doubt]]:
    """Return the scans of each session by contrast, and what is asked of them."""
    contrasts = [spec.role for spec in family.train_inputs if spec.named is not None]
    contrasts = [role for role in contrasts if role in inputs.references]
    if not contrasts:
        return None, []
    sessions = sessions_of(inputs, contrasts)
    pairs = tuple(
        {role: scans[role].path if role in scans else None for role in contrasts}
        for scans in (session.scans for session in sessions)
    )
    notes = [
        Doubt(next(iter(session.scans.values())).path, session.note)
        for session in sessions
        if session.note
    ]
    return pairs, notes


def _doubts(scan: Reference) -> Iterator[Doubt]:
    if scan.doubt:
        yield Doubt(scan.path, scan.doubt)
    if scan.slices:
        return
    try:
        for what in scan.info().doubts:
            yield Doubt(scan.path, what)
    except MrgenError as error:
        yield Doubt(scan.path, str(error))
        return
    if few := content_of(scan.path).few_values:
        yield Doubt(scan.path, f"It holds only {few} whole values. {IF_LABELS}")
