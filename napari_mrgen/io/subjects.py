"""Whose scan a file is: decided once for all files of a folder, with the reason.

By what names and folders say, in this order: an identifier that a data set is known by (BIDS, ACDC,
OASIS, ADNI, BraTS, ...); the folder, where it is the folders that tell persons apart; the name
without the words for visit, contrast, view, run and copy. A subject is never too small for that: in
doubt two scans are of one subject, since a person must not be on both sides of a split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.naming import LABEL_WORDS, SET_NAME, stem

AUTO, FOLDER, NAME = "auto", "folder", "name"


@dataclass(frozen=True)
class Subject:
    """A subject, and how it was found."""

    name: str
    why: str
    doubt: str = ""
    """What a user should check, in a sentence; '' where nothing is doubtful."""


_IDS: Mapping[str, re.Pattern[str]] = {
    "BIDS": re.compile(r"^(sub-[a-zA-Z0-9]+)"),
    "ACDC": re.compile(r"^(patient\d+)"),
    # MR1 and MR2 are sessions of one subject.
    "OASIS": re.compile(r"^(OAS[12]_\d{4}|OAS[34]\d{4})"),
    # Left and right are knees of one subject.
    "Osteoarthritis Initiative": re.compile(r"^(OAI\d{7})"),
    "ADNI": re.compile(r"(?<!\d)(\d{3}_S_\d{4,5})(?!\d)"),
    "PPMI or AIBL": re.compile(r"^((?:PPMI|AIBL)_\d+)(?=_)"),
    # The last number is a time point.
    "BraTS": re.compile(
        r"^(BraTS-[A-Za-z]+-\d{5}|BraTS2021_\d{5}|BraTS\d\d_[A-Za-z0-9]+(?:_[A-Z]+)?_\d+)"
    ),
    "UCSF-PDGM or UPENN-GBM": re.compile(r"^((?:UCSF-PDGM|UPENN-GBM)-\d{4,5})(?!\d)"),
    "HCP": re.compile(r"^(\d{6}(?=_[37]T)|HC[AD]\d{7})"),
    "UK Biobank": re.compile(r"^(\d{7})(?=_\d{5}_\d+_\d+)"),
}  # fmt: skip
"""Identifiers at the start of a name, or of the name of a folder."""

_ENTITY = re.compile(
    r"(?:^|(?<=_))(?:ses|run|acq|echo|dir|rec|space|desc|res|part|ce|mod|task|hemi|split|den|from|to"
    r"|mode|label|inv|flip|mt|proc|chunk|view|visit|session|tp)-[a-zA-Z0-9.+]+(?:_|$)"
)
_DATE = re.compile(
    r"(?<!\d)(?:19|20)\d\d([-._]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"(?:[_T-]\d\d[-_:.]?\d\d(?:[-_:.]?\d\d(?:\.\d+)?)?)?(?!\d)"
)
_COPY = re.compile(r"\s*\(\d+\)|(?:\s*-)?\s*\b(?:copy|kopie|copie|copia|kopia)\b(?:\s*\d+)?", re.I)
_CONTRAST = re.compile(
    r"t1|t1w|t1n|t1c|t1ce|t1gd|t1post|t2|t2w|t2f|t2flair|t2star|flair|pd|pdw|swi|dwi|adc|dti|bold|asl"
    r"|mra|tof|mprage|memprage|spgr|fspgr|mp2rage|cine|[234]d"
    r"|sa|la|sax|lax|[234]ch|ch[234]|lvot|rvot|sag|cor|ax|axi|tra|sagittal|coronal|axial|transvers\w*"
)
"""Words for contrasts, sequences and views: no part of a subject's name wherever they stand."""
_VISIT = re.compile(
    r"v\d{1,2}|visit\d*|ses\d*|session\d*|tp\d*|timepoint\d*|time\d*|baseline|followup\d*|fu\d*"
    r"|month\d*|mo\d+|week\d*|wk\d+|day\d*|year\d*|yr\d*|wave\d*|mr\d|exam\d*|study\d*|scan\d*"
    r"|run\d*|rep\d*|repeat\d*|acq\d*|echo\d*|te\d+|ti\d+|frame\d*|phase\d*|slice\d*|mpr\d*|spc\d*"
    r"|rescan|retest|retake"
)
"""Words for visits, runs and parts of a scan; a number may follow them as a word of its own."""
_VERSION = re.compile(
    r"ed|es|dia|sys|diastole|systole|left|right|lh|rh|pre|post|ce|gd|gad"
    r"|brain|bet|ss|stripped|skullstripped|masked|n4|bias|biascorr|bfc|corrected|restore|acpc|dc"
    r"|preproc|preprocessed|processed|norm|normalized|normalised|denoised|reg|registered|coreg|aligned"
    r"|warped|resampled|resliced|cropped|crop|defaced|mni|mni152|iso|orig|original|raw|map|star|gfc|\d*mm"
    r"|[137]t|15t|as|generated|synthetic|predicted|prediction|pred|recon|reconstructed|frames|bravo"
)
"""Words for what was done to a scan, or which part of a body or beat it shows."""
_NUMBER = re.compile(r"\d")
_WEAK = re.compile(r"m\d\d|y\d|e\d|t\d+|l|r|bl|sl\d+|[abc]|\d{1,2}")
"""Words that may mean a visit as a person: dropped where others tell persons apart."""
_NOT_A_PERSON = frozenset({
    "anat", "anatomical", "func", "fmap", "perf", "dwi", "images", "image", "imgs", "img",
    "masks", "mask", "nifti", "niftis", "nii", "mri", "mr", "data", "dataset", "datasets",
    "raw", "rawdata", "sourcedata", "derivatives", "preprocessed", "processed", "preproc",
    "training", "testing", "validation", "validate", "orig", "mninonlinear", "unprocessed",
    "scans", "scan", "volumes", "volume", "dicom", "dcm", "output", "outputs", "results", "out",
    "labelled", "unlabelled", "labeled", "unlabeled", "input", "inputs", "native", "brain",
    "brains", "head", "heads", "cardiac", "heart", "hearts", "files", "nii_gz", "sessions",
    "visits",
})  # fmt: skip
_GROUP = re.compile(
    r"(?:site|cent(?:er|re)|group|cohort|hospital|scanner|vendor|batch|fold|part|class|release|arm|dataset"
    r"|set)s?[-_ ]?[a-z0-9]*|ad|cn|mci|emci|lmci|hgg|lgg|patients?|controls?|healthy|cases|hc|nc",
    re.I,
)
"""Folders of many persons."""


def subject_of(path: Path) -> str:
    """Return the subject of one file, by its own name and folders alone.

    Examples
    --------
    >>> [subject_of(Path(name)) for name in ("sub-02_ses-1_T1w.nii.gz", "IXI012_T2.nii")]
    ['sub-02', 'IXI012']
    """
    return _of_one(path, None).name


def named_subject(path: Path) -> str | None:
    """Return the subject whose identifier is in a file's name or folders; None where none is."""
    known = _known(path)
    return known.name if known else None


def plain_subject(path: Path) -> str:
    """Return the subject that a file or its folders name; else all of its name but the suffix."""
    return named_subject(path) or path.stem


def subjects_in(
    paths: Sequence[Path],
    root: Path,
    rule: str = AUTO,
    stem_of: Callable[[Path], str] = stem,
) -> dict[Path, Subject]:
    """Tell whose scan each file is, of all files below a folder together.

    Parameters
    ----------
    paths
        The files, label maps among them.
    root
        The folder that was given; those above it say nothing but known identifiers.
    rule
        ``auto``; ``folder`` or ``name`` where a user knows that one tells persons apart; or a
        regular expression that is searched in the path below ``root``, whose first group (or whole
        match) is the subject.
    stem_of
        The part of a file's name that is looked at.

    Examples
    --------
    >>> names = ("p1/T1.nii", "p1/T2.nii", "p2/T1.nii")
    >>> found = subjects_in([Path("study", name) for name in names], Path("study"))
    >>> [one.name for one in found.values()]
    ['p1', 'p1', 'p2']
    """
    if rule not in (AUTO, FOLDER, NAME):
        return _by_pattern(paths, root, rule, stem_of)
    subjects = {path: known for path in paths if (known := _known(path))} if rule == AUTO else {}
    rest = [path for path in paths if path not in subjects]
    if not rest:
        return subjects
    bases = _bases(rest, stem_of)
    places = {path: _place(path, root) for path in rest}
    folders = _persons(rest, places)
    doubt = ""
    if rule == AUTO:
        rule, doubt = _choose(rest, bases, places)
    for path in rest:
        if rule == FOLDER and folders[path]:
            why = "folder, since names repeat" if not doubt else "folder"
            subjects[path] = Subject(folders[path], why, doubt)
        elif bases[path]:
            subjects[path] = Subject(bases[path], "name without visit, contrast and view", doubt)
        else:
            subjects[path] = replace(_of_one(path, root, stem_of), doubt=doubt)
    return subjects


def _known(path: Path) -> Subject | None:
    """Return the subject by an identifier that some data set uses, the file's name first."""
    for part in (stem(path), *reversed(path.parent.parts)):
        for data_set, pattern in _IDS.items():
            if match := pattern.search(part):
                kind = "entity" if data_set == "BIDS" else "identifier"
                return Subject(match[1], f"{data_set} {kind}")
    return None


def _of_one(path: Path, root: Path | None, stem_of: Callable[[Path], str] = stem) -> Subject:
    if known := _known(path):
        return known
    if base := bare_name(stem_of(path)):
        return Subject(base, "name without visit, contrast and view")
    if place := _place(path, root):
        return Subject(place[-1], "folder, since the name tells only the kind of scan")
    return Subject(stem_of(path), "name")


def bare_name(name: str, *, weak: bool = False) -> str:
    """Return a name without the words for visit, contrast, view, run, version and copy.

    Parameters
    ----------
    weak
        Whether words go too that may mean a person as well as a visit, such as a last ``1``.

    Examples
    --------
    >>> [bare_name(name) for name in ("P001_V1_T1w", "001_SA_CINE", "scan_01 (1)", "T1")]
    ['P001', '001', 'scan_01', '']
    """
    name = _DATE.sub("", _COPY.sub("", _ENTITY.sub("", name)))
    parts = re.split(r"([_\-. ()+]+)", name)
    kept = ""
    after_visit = False
    for separator, word in zip(["", *parts[1::2]], parts[0::2], strict=True):
        lower = word.lower()
        is_visit = bool(kept) and _VISIT.fullmatch(lower) is not None
        drop = (
            not word
            or _CONTRAST.fullmatch(lower) is not None
            or is_visit
            or (after_visit and lower.isdigit())
            or (bool(kept) and (_VERSION.fullmatch(lower) is not None or lower in LABEL_WORDS))
            or (weak and bool(kept) and _WEAK.fullmatch(lower) is not None)
        )
        after_visit = is_visit and not lower[-1].isdigit()
        if not drop:
            kept += (separator if kept else "") + word
    return "" if kept.lower() in _NOT_A_PERSON | LABEL_WORDS else kept


def _bases(paths: Sequence[Path], stem_of: Callable[[Path], str]) -> dict[Path, str]:
    """Return the names without what is no part of a person's; weak words only where some stay."""
    stems = {path: _without_channel(path, stem_of(path)) for path in paths}
    # A second copy on a Mac is called "scan 2" beside "scan".
    known = set(stems.values())
    stems = {
        path: name[:-2] if re.search(r" \d$", name) and name[:-2] in known else name
        for path, name in stems.items()
    }
    bases = {path: bare_name(name) for path, name in stems.items()}
    weak = {path: bare_name(name, weak=True) for path, name in stems.items()}
    # "P001_1" and "P002_1" are two persons, "study2_1" and "study2_2" are as well.
    numbered = {one for one in weak.values() if _NUMBER.search(one)}
    shortened = {weak[path] for path in paths if weak[path] != bases[path]}
    if len(set(weak.values())) > 1 and shortened <= numbered:
        return weak
    return bases


def _without_channel(path: Path, name: str) -> str:
    """Take the channel of nnU-Net off: ``BRAIN_001_0000`` in ``imagesTr`` is of BRAIN_001."""
    match = re.fullmatch(r"(.*\d.*)_000\d", name)
    return match[1] if match and re.match(r"images(Tr|Ts|Val)", path.parent.name) else name


def _place(path: Path, root: Path | None) -> tuple[str, ...]:
    """Return the folders of a file, below ``root``, that may be called after a person."""
    parent = path.parent
    if root is not None and parent.is_relative_to(root):
        parts: Sequence[str] = parent.relative_to(root).parts
    else:
        parts = parent.parts[-3:]
    return tuple(part for one in parts if (part := _folder_name(one)))


def _folder_name(part: str) -> str:
    # Windows and Mac unpack "x.nii.gz" into a folder of that name.
    name = bare_name(stem(Path(part)))
    lower = name.lower()
    is_set = SET_NAME.search(part) or re.fullmatch(r"(images|labels|masks)(tr|ts|te|val)?", lower)
    is_dull = _VISIT.fullmatch(lower) and not re.search(r"\d", lower)
    is_visit = re.fullmatch(
        r"(?:v|visit|ses|session|tp|timepoint|month|week|day|year|wave|run)[-_ ]?\d+", lower
    )
    words = set(re.findall(r"[a-z]+", lower))
    is_other = lower in _NOT_A_PERSON or (bool(words) and words <= LABEL_WORDS)
    return "" if is_set or is_dull or is_visit or is_other or name in ("", "/") else name


def _persons(paths: Sequence[Path], places: Mapping[Path, tuple[str, ...]]) -> dict[Path, str]:
    """Return the folder that stands for a person, '' where no folder does.

    It is the first below those of groups. The next is, where the first ones look like groups too:
    they have no number, those in them have one, and are more and of different names.
    """
    single = {
        path: [k for k, part in enumerate(place) if not _GROUP.fullmatch(part)] or [len(place) - 1]
        for path, place in places.items()
    }
    inner: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        if len(single[path]) > 1:
            outer, second = (places[path][k] for k in single[path][:2])
            inner[second].add(outer)
    outers = {outer for own in inner.values() for outer in own}
    are_groups = (
        len(inner) > len(outers)
        and all(len(own) == 1 for own in inner.values())
        and all(map(_NUMBER.search, inner))
        and not any(map(_NUMBER.search, outers))
    )
    ends = {
        path: own[min(1, len(own) - 1) if are_groups else 0] + 1 for path, own in single.items()
    }
    names = {path: places[path][ends[path] - 1] if places[path] else "" for path in paths}
    whole = {path: "-".join(places[path][: ends[path]]) for path in paths}
    meant: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        meant[names[path]].add(whole[path])
    return {path: whole[path] if len(meant[name]) > 1 else name for path, name in names.items()}


def _choose(
    paths: Sequence[Path], bases: Mapping[Path, str], places: Mapping[Path, tuple[str, ...]]
) -> tuple[str, str]:
    """Choose folders or names, whichever tells persons apart; and say what is doubtful."""
    persons = _persons(paths, places)
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folders[bases[path]].add(persons[path])
    there = {name for names in folders.values() for name in names if name}
    if not there:
        return NAME, ""
    if folders.get("", set()) - {""}:
        return FOLDER, ""
    repeated = {base for base, names in folders.items() if len(names) > 1}
    has_number = {name for name in there if _NUMBER.search(name)}
    if any(not _NUMBER.search(base) for base in repeated):
        return FOLDER, ""
    if repeated:
        if len(has_number) == len(there) or len(there) >= len(repeated):
            return FOLDER, ""
        example = sorted(repeated)[0]
        return NAME, (
            f"Files of one name, such as {example}, lie in several folders; they were taken for "
            "those of one person. If each folder is a person, use --subject-from folder."
        )
    several = len(folders) > len(there)
    if several and len(there) > 2 and len(has_number) == len(there):
        return FOLDER, (
            "Each folder holds scans of several names; they were taken for those of one person. If "
            "each name is a person, use --subject-from name."
        )
    return NAME, ""


def _by_pattern(
    paths: Sequence[Path], root: Path, rule: str, stem_of: Callable[[Path], str]
) -> dict[Path, Subject]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        msg = (
            f"{rule!r} says no way to find subjects ({error}); give folder, name, or a regular "
            r"expression such as '(P\d+)'."
        )
        raise MrgenError(msg) from None
    subjects = {}
    for path in paths:
        text = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        match = pattern.search(text)
        if match and (name := match[(match.lastindex and 1) or 0]):
            subjects[path] = Subject(name, f"pattern {rule}")
        else:
            other = _of_one(path, root, stem_of)
            doubt = f"{rule!r} is not in {text}; its subject is {other.name}, by the {other.why}."
            subjects[path] = replace(other, doubt=doubt)
    return subjects
