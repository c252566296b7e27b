from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mrgen.data.heads import cache
from napari_mrgen.data.heads.patches import VolumePatches
from napari_mrgen.data.heads.preprocessing import (
    PreprocessedData,
    PreprocessedSession,
    PreprocessingSpec,
    default_cache,
    head_scaling,
    preprocess_inputs,
    preprocess_sessions,
)
from napari_mrgen.data.heads.registration import moved
from napari_mrgen.data.heads.sessions import Session, group_sessions
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.datasets.contrasts import find_pairs
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume
from tests.data.heads.head_data import head, rigid, true_mask, write, write_pair

REFUSE, REGISTER, SEPARATE = (
    PreprocessingSpec(unaligned="refuse"),
    PreprocessingSpec(unaligned="register"),
    PreprocessingSpec(unaligned="unpaired"),
)
CONTRASTS = ("t1", "t2")
AWAY = rigid((0, 6, -4), (0, 14, 5))


def pairs_in(folder: Path) -> tuple[Session, ...]:
    roles = find_pairs(folder)
    return group_sessions({c: roles.get(c, ()) for c in CONTRASTS}, roles.get("mask", ()))


def made(
    folder: Path, spec: PreprocessingSpec = REFUSE, split: Split | None = None
) -> PreprocessedData:
    *_, last = preprocess_sessions(pairs_in(folder), spec, folder.parent / "cache", split)
    assert isinstance(last, PreprocessedData)
    return last


def said(folder: Path, spec: PreprocessingSpec = REFUSE) -> list[str]:
    items = preprocess_sessions(pairs_in(folder), spec, folder.parent / "cache")
    return [item.message for item in items if isinstance(item, Progress)]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two subjects that lie voxel on voxel."""
    for seed in (1, 2):
        write_pair(tmp_path / "scans", f"s{seed}", head(seed))
    return tmp_path / "scans"


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """One subject whose T2w was taken after the head had turned."""
    t1, t2 = head(1)
    write_pair(tmp_path / "scans", "s1", (t1, moved(t2, AWAY)))
    return tmp_path / "scans"


@pytest.fixture
def comparable_pairs(tmp_path: Path) -> Path:
    """The T1w of one head and the T2w of another, by the same name."""
    write_pair(tmp_path / "scans", "s1", (head(1)[0], head(2)[1]))
    return tmp_path / "scans"


# ---- what is made -------------------------------------------------------------------------------


def test_pairs_are_cut_scaled_and_stay_where_they_were(scans: Path) -> None:
    prepared = made(scans)
    assert [pair.name for pair in prepared.train] == ["s1", "s2"]
    pair, (t1, _) = prepared.train[0], head(1)
    assert pair.is_paired
    volume = pair.volume("t1")
    assert volume.array.shape == pair.shape == pair.array("t2").shape == pair.array("mask").shape
    assert (volume.array.min(), volume.array.max()) == (0, 1)
    whole = np.linalg.inv(t1.affine) @ volume.affine @ np.array([9, 9, 9, 1])
    expected = pair.scalings["t1"].apply(t1.array)[tuple(whole[:3].round().astype(int))]
    assert volume.array[9, 9, 9] == pytest.approx(expected.clip(0, 1))
    assert volume.spacing == pytest.approx(t1.spacing)


def test_the_box_is_the_brain_with_its_margin(scans: Path) -> None:
    wide, tight = (
        made(scans, PreprocessingSpec(margin_mm=margin)).train[0] for margin in (8.0, 0.0)
    )
    assert tuple(a - b for a, b in zip(wide.shape, tight.shape, strict=True)) == (4, 4, 4)
    mask = tight.array("mask")
    assert all(mask.any(axis=others).all() for others in ((1, 2), (0, 2), (0, 1)))
    assert mask.sum() == pytest.approx(true_mask().sum(), rel=0.02)


def test_a_split_parts_them_and_leaves_others_out(scans: Path) -> None:
    prepared = made(scans, split=Split(("s2",), ("s1",)))
    assert [[p.name for p in part] for part in (prepared.train, prepared.test)] == [["s2"], ["s1"]]
    alone = made(scans, split=Split(("s2",), ()))
    assert alone.train == alone.test
    assert len(alone.train) == 1


def test_one_subject_is_enough(tmp_path: Path) -> None:
    write_pair(tmp_path / "scans", "s1", head(1))
    assert len(made(tmp_path / "scans").train) == 1


def test_the_scaling_does_not_care_for_air() -> None:
    for volume in (*head(1), *head(1, skull=True)):
        wide = volume.with_array(np.pad(volume.array, 12))
        assert head_scaling(wide).scale == pytest.approx(head_scaling(volume).scale, rel=0.03)
        assert head_scaling(volume).offset == 0


def test_values_below_zero_are_ringing_or_meant() -> None:
    t1 = head(1)[0]
    brain = np.where(true_mask(), t1.array, 0).astype(np.float32)
    assert head_scaling(t1.with_array(np.where(true_mask(), brain - 40, 0))).offset == 0
    deviations = np.where(true_mask(), (brain - brain[true_mask()].mean()) / 100, 0)
    assert head_scaling(t1.with_array(deviations)).offset < -1


# ---- scans that do not lie on one another -------------------------------------------------------


def test_what_is_not_aligned_is_refused_in_words(turned: Path) -> None:
    with pytest.raises(MrgenError, match=r"^s1: These do not lie on one another.*register"):
        made(turned)


def test_what_is_not_aligned_is_registered_and_said(turned: Path) -> None:
    titles = said(turned, REGISTER)
    assert "Registering (67%) s1" in titles
    prepared = made(turned, REGISTER)
    assert "was registered to the T1w, moved by" in prepared.notes[0]
    (pair,) = prepared.train
    inside = pair.array("mask") > 0
    _, t2 = head(1)
    there = np.linalg.inv(t2.affine) @ np.array(pair.affine)
    start = there[:3, 3].round().astype(int)
    cut = tuple(slice(a, a + n) for a, n in zip(start, pair.shape, strict=True))
    assert np.corrcoef(pair.array("t2")[inside], t2.array[cut][inside])[0, 1] > 0.9


def test_or_trained_on_as_unpaired(turned: Path) -> None:
    prepared = made(turned, SEPARATE)
    assert [sorted(pair.scalings) for pair in prepared.train] == [["t1"], ["t2"]]
    assert "trained on as unpaired" in prepared.notes[0]
    assert len(prepared.notes) == 1
    assert all(pair.check.relation == "not aligned" for pair in prepared.train)


def test_strangers_are_refused_even_where_registering_is_asked_for(comparable_pairs: Path) -> None:
    with pytest.raises(MrgenError, match="two heads"):
        made(comparable_pairs, REGISTER)


def test_a_missing_partner_is_trained_on_alone(scans: Path) -> None:
    (scans / "s2_T2w.nii").unlink()
    prepared = made(scans)
    assert [pair.is_paired for pair in prepared.train] == [True, False]
    assert prepared.train[1].check.relation == "unpaired"


def test_all_are_looked_at_before_one_is_refused(scans: Path) -> None:
    for seed in (3, 4, 5, 6, 7):
        write_pair(scans, f"s{seed}", (head(seed)[0], head(1)[1]))
    with pytest.raises(MrgenError, match=r"5 of 7 pairs cannot be used \(2 more\)\. s3: "):
        made(scans)
    for seed in (3, 4, 5, 6, 7):
        (scans / f"s{seed}_T2w.nii").unlink()
        (scans / f"s{seed}_T1w.nii").unlink()
    assert said(scans) == ["Data ready"], "the good ones were kept"


# ---- the cache ----------------------------------------------------------------------------------


def volumes(prepared: PreprocessedData) -> list[np.ndarray]:
    return [np.array(p.array(name)) for p in prepared.train for name in ("t1", "t2", "mask")]


def test_a_second_time_nothing_is_read_and_all_is_the_same(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(scans)

    def read(_: Reference) -> Volume:
        raise AssertionError("a source was read")

    monkeypatch.setattr(Reference, "read", read)
    again = made(scans)
    assert again == first
    assert said(scans) == ["Data ready"]
    assert made(scans, REGISTER) == first, "what is aligned is not registered"


@pytest.mark.parametrize("spec", [REGISTER, SEPARATE], ids=["registered", "separate"])
def test_neither_where_they_were_not_aligned(turned: Path, spec: PreprocessingSpec) -> None:
    first = made(turned, spec)
    assert said(turned, spec) == ["Data ready"]
    assert made(turned, spec) == first


def test_a_changed_scan_is_made_anew(scans: Path) -> None:
    before = made(scans)
    t1, _ = head(1)
    write(t1.with_array(t1.array * 2), scans / "s1_T1w.nii")
    os.utime(scans / "s1_T1w.nii", ns=(1, 1))
    after = made(scans)
    assert after.train[0].scalings["t1"].scale == 2 * before.train[0].scalings["t1"].scale
    assert after.train[1] == before.train[1]


def test_other_settings_are_made_anew(scans: Path) -> None:
    assert (
        made(scans).train[0].folder != made(scans, PreprocessingSpec(margin_mm=0)).train[0].folder
    )


@pytest.mark.parametrize("harm", ["cut", "gone", "record"])
def test_what_is_damaged_is_made_anew(scans: Path, harm: str) -> None:
    first = made(scans)
    kept, folder = volumes(first), first.train[0].folder
    if harm == "cut":
        os.truncate(folder / "t1.npy", 200)
    elif harm == "gone":
        (folder / "mask.npy").unlink()
    else:
        (folder / "session.json").write_text("{")
    for was, now in zip(kept, volumes(made(scans)), strict=True):
        assert np.array_equal(was, now)


def test_a_cache_that_cannot_be_written_is_a_sentence(scans: Path) -> None:
    (scans.parent / "cache").write_text("in the way")
    with pytest.raises(MrgenError, match=r"cannot be written to .*MRGEN_CACHE"):
        made(scans)


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(scans: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(MrgenError, match="make room"):
            made(scans)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((scans.parent / "cache").iterdir()) == []
    assert len(made(scans).train) == 2


def test_what_was_not_used_for_long_is_removed(scans: Path) -> None:
    prepared = made(scans)
    old, new = (pair.folder for pair in prepared.train)
    os.utime(old / "session.json", (0, 0))
    stranger = scans.parent / "cache" / "mine"
    stranger.mkdir()
    cache.remove_unused(scans.parent / "cache")
    assert not old.exists()
    assert new.exists()
    assert stranger.exists()


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MRGEN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("MRGEN_CACHE")
    assert default_cache().parts[-2:] == ("napari-mrgen", "prepared")


# ---- what comes in ------------------------------------------------------------------------------


def test_values_that_are_not_finite_become_0(scans: Path) -> None:
    t1, _ = head(1)
    holed = t1.array.astype(np.float32)
    holed[20, 20, 20] = np.nan
    write(t1.with_array(holed), scans / "s1_T1w.nii")
    assert all(np.isfinite(array).all() for array in volumes(made(scans)))


def test_several_frames_are_refused_by_name(scans: Path) -> None:
    t1, _ = head(1)
    (pair, *_) = pairs_in(scans)
    path = write(t1.with_array(np.stack([t1.array] * 2), "tzyx"), scans / "cine_T1w.nii")
    wrong = replace(pair, scans={**pair.scans, "t1": Reference(path, "s1")})
    with pytest.raises(MrgenError, match="cine_T1w has axes tzyx"):
        list(preprocess_sessions([wrong], REFUSE, scans.parent / "cache"))


def test_a_given_mask_decides_the_box_and_an_empty_one_is_refused(scans: Path) -> None:
    t1, _ = head(1)
    small = np.zeros(t1.array.shape, np.uint8)
    small[10:30, 12:30, 10:30] = 1
    write(t1.with_array(small, kind="labels"), scans / "s1_mask.nii")
    pair = made(scans, PreprocessingSpec(margin_mm=0)).train[0]
    assert pair.shape == (20, 18, 20)
    assert pair.array("mask").all()
    write(t1.with_array(small * 0, kind="labels"), scans / "s1_mask.nii")
    with pytest.raises(MrgenError, match=r"s1_mask\.nii marks nothing"):
        made(scans)


def test_the_t2w_comes_to_the_grid_of_the_t1w(scans: Path) -> None:
    t1, t2 = head(1)
    finer = Volume(
        np.repeat(t2.array, 2, axis=0), "zyx", t2.affine @ np.diag([0.5, 1, 1, 1]), name="T2w"
    )
    finer.affine[:3, 3] -= t2.affine[:3, 0] / 4
    write(finer, scans / "s1_T2w.nii")
    pair = made(scans).train[0]
    assert pair.check.relation == "aligned in scanner coordinates"
    assert pair.volume("t2").spacing == pytest.approx(t1.spacing)


def test_inputs_are_prepared(scans: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MRGEN_CACHE", str(tmp_path / "elsewhere"))
    *_, last = preprocess_inputs(
        Inputs(find_pairs(scans), Split(("s1",), ("s2",))), CONTRASTS, REFUSE
    )
    assert isinstance(last, PreprocessedData)
    assert isinstance(last.train[0], PreprocessedSession)
    assert last.train[0].folder.parent == tmp_path / "elsewhere"


@pytest.mark.slow
def test_native_scans_go_through_without_a_hand_on_them(mrgen_data: Path, tmp_path: Path) -> None:
    """Of Open MS two of four are not aligned; a T2w of another patient is refused."""
    folder = mrgen_data / "open-ms-t1-t2" / "raw"
    if not folder.is_dir():
        pytest.skip(f"no open-ms-t1-t2 in {mrgen_data}")
    pairs = pairs_in(folder)
    *_, prepared = preprocess_sessions(pairs, REGISTER, tmp_path)
    assert isinstance(prepared, PreprocessedData)
    assert [pair.name for pair in prepared.train if pair.note] == ["patient03", "patient12"]
    assert all(pair.is_paired for pair in prepared.train)
    planted = replace(pairs[1], scans={**pairs[1].scans, "t2": pairs[2].scans["t2"]})
    with pytest.raises(MrgenError, match="two heads"):
        list(preprocess_sessions([planted], REGISTER, tmp_path))


# ---- one contrast, and three --------------------------------------------------------------------


def preprocessed(
    folder: Path, contrasts: tuple[str, ...], spec: PreprocessingSpec = REFUSE
) -> PreprocessedData:
    """Preprocess ``sub-N_CONTRAST.nii`` of the first, second, ... subject."""
    found = {
        contrast: tuple(
            Reference(path, path.name.split("_")[0])
            for path in sorted(folder.glob(f"*_{contrast}.nii"))
        )
        for contrast in contrasts
    }
    inputs = Inputs(found, Split(("sub-1", "sub-3"), ("sub-2",)))
    *_, last = preprocess_inputs(inputs, contrasts, spec, folder / "cache")
    assert isinstance(last, PreprocessedData)
    return last


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three subjects in T1w, T2w and FLAIR, voxel on voxel."""
    for seed in (1, 2, 3):
        t1, t2 = head(seed)
        flair = t2.with_array(np.where(t2.array > 650, 200, t2.array))
        for volume, contrast in ((t1, "t1"), (t2, "t2"), (flair, "flair")):
            write(volume, tmp_path / f"sub-{seed}_{contrast}.nii")
    return tmp_path


def test_volumes_of_one_contrast_are_a_training_set(three: Path) -> None:
    first = preprocessed(three, ("t1",))
    assert [one.subject for one in first.train] == ["sub-1", "sub-3"]
    assert [one.subject for one in first.test] == ["sub-2"]
    assert [list(one.scalings) for one in first.train] == [["t1"], ["t1"]]
    assert not first.notes
    assert preprocessed(three, ("t1",)) == first, "a second time they come from the cache"
    data = VolumePatches(first, ("t1",), 16, 8)
    assert len(data) == 2
    assert data.paired_share == 1
    sample = data.sample(1, torch.Generator().manual_seed(0))
    assert {name: tuple(value.shape) for name, value in sample.items()} == {
        "t1": (1, 16, 16, 16), "mask": (1, 16, 16, 16), "paired": (),
    }  # fmt: skip
    assert data.describe()["scaling"].keys() == {"t1"}
    (held_out,) = data.held_out()
    assert held_out["t1"].shape == (4, 1, 16, 16, 16)


def test_three_contrasts_lie_on_the_grid_of_the_first(three: Path) -> None:
    contrasts = ("t1", "t2", "flair")
    data = VolumePatches(preprocessed(three, contrasts), contrasts, 0, 4, flip=False)
    assert (len(data), data.paired_share) == (2, 1)
    sample = data.sample(0, torch.Generator())
    assert len({sample[name].shape for name in (*contrasts, "mask")}) == 1
    assert not torch.equal(sample["t2"], sample["flair"])
    (three / "sub-3_flair.nii").unlink()
    data = VolumePatches(preprocessed(three, contrasts), contrasts, 16, 4)
    assert (len(data), data.paired_share) == (2, 0.5)
    assert data.sample(1, torch.Generator().manual_seed(0))["paired"] == 0


def test_of_three_contrasts_the_one_that_has_moved_is_registered(three: Path) -> None:
    path = three / "sub-2_flair.nii"
    write(moved(nifti.read(path), AWAY), path)
    with pytest.raises(MrgenError, match=r"^1 of 3 pairs cannot be used. sub-2: These do not lie"):
        preprocessed(three, ("t1", "t2", "flair"))
    (note,) = preprocessed(three, ("t1", "t2", "flair"), REGISTER).notes
    assert note.startswith("sub-2: the FLAIR was registered to the T1w, moved by")
    separate = preprocessed(three, ("t1", "t2", "flair"), SEPARATE)
    assert [list(one.scalings) for one in separate.test] == [["t1"], ["t2"], ["flair"]]
