"""A folder becomes a folder: every scan, none of them the end of the rest, in as many goes."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.app.cases import find_cases, folder_role
from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.app.result_folder import SIDECAR, TABLE, ResultFolder, ScanResult, generate_folder
from napari_mrgen.cli.generate import print_result
from napari_mrgen.cli.main import MISTAKE, OK, main
from napari_mrgen.engine.control import Control
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from tests.app.conftest import write_head

NAMES = ("sub-1_T1w", "sub-2_T1w", "sub-3_T1w")


@pytest.fixture(scope="module")
def generator(translator: Path) -> LocalGenerator:
    return LocalGenerator.load(translator, "cpu")


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    folder = tmp_path / "heads"
    for seed, name in enumerate(NAMES):
        write_head(folder / name[:5] / "anat" / f"{name}.nii.gz", seed)
    return folder


def run(
    generator: LocalGenerator,
    heads: Path,
    out: Path,
    *,
    control: Control | None = None,
    stop_after: int = 0,
    overwrite: bool = False,
    **settings: object,
) -> list[ScanResult]:
    config = generator.family.generate_config.parse(settings)
    control = control or Control()
    cases = find_cases(generator.family.generate_inputs, {"t1": heads}, out)
    folder = ResultFolder(out, generator.record(config), overwrite)
    found = []
    for done in generate_folder(generator, cases, config, folder, control):
        found.append(done)
        if len(found) == stop_after:
            control.stop()
    return found


def rows(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_scan_has_its_result_in_its_place(generator, heads, tmp_path):
    out = tmp_path / "made"
    assert [done.number for done in run(generator, heads, out)] == [1, 2, 3]
    for name in NAMES:
        source = nifti.read(heads / name[:5] / "anat" / f"{name}.nii.gz")
        path = out / name[:5] / "anat" / f"{name}-as-t2w.nii.gz"
        made = nifti.read(path)
        assert made.array.shape == source.array.shape
        np.testing.assert_allclose(made.affine, source.affine, atol=1e-4)
        record = json.loads(path.with_name(f"{name}-as-t2w.json").read_text())
        assert record["source"]["t1"]["subject"] == name[:5]
    assert [Path(row["scan"]).name for row in rows(out)] == [f"{name}.nii.gz" for name in NAMES]
    assert json.loads((out / SIDECAR).read_text())["model"]["sha256"] == generator.model.hash


def test_a_run_that_was_stopped_goes_on_where_it_was(generator, heads, tmp_path):
    out, whole = tmp_path / "made", tmp_path / "whole"
    assert len(run(generator, heads, out, stop_after=1)) == 1
    (first,) = out.rglob("*.nii.gz")
    before = first.stat().st_mtime_ns
    again = run(generator, heads, out)
    assert [done.is_kept for done in again] == [True, False, False]
    assert first.stat().st_mtime_ns == before
    run(generator, heads, whole)
    for path in whole.rglob("*.nii.gz"):
        one, other = nifti.read(path), nifti.read(out / path.relative_to(whole))
        assert np.array_equal(one.array, other.array)
        assert np.array_equal(one.affine, other.affine)
    assert len(rows(out)) == 3


def test_a_result_that_is_gone_is_made_again(generator, heads, tmp_path):
    out = tmp_path / "made"
    run(generator, heads, out)
    gone = out / "sub-2" / "anat" / "sub-2_T1w-as-t2w.nii.gz"
    gone.unlink()
    assert [done.is_kept for done in run(generator, heads, out)] == [True, False, True]
    assert gone.exists()


def test_a_broken_file_is_one_line_and_the_rest_is_made(generator, heads, tmp_path):
    out = tmp_path / "made"
    (heads / "no-header_T1w.nii.gz").write_bytes(b"nothing")
    whole = (heads / "sub-2" / "anat" / "sub-2_T1w.nii.gz").read_bytes()
    (heads / "cut_T1w.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_head(heads / "empty_T1w.nii.gz")
    empty = nifti.read(heads / "empty_T1w.nii.gz")
    nifti.write(empty.with_array(np.zeros_like(empty.array)), heads / "empty_T1w.nii.gz")
    found = {done.scan.name: done for done in run(generator, heads, out)}
    assert len(found) == 6
    for name in ("no-header", "cut", "empty"):
        problem = found[f"{name}_T1w.nii.gz"].problem
        assert problem
        assert len(problem.splitlines()) == 1
    assert len(list(out.rglob("*.nii.gz"))) == 3
    assert {row["problem"] == "" for row in rows(out)} == {True, False}


def test_what_failed_is_tried_again(generator, heads, tmp_path):
    out = tmp_path / "made"
    path = heads / "late_T1w.nii.gz"
    path.write_bytes(b"half")
    assert [bool(done.problem) for done in run(generator, heads, out)].count(True) == 1
    write_head(path, 9)
    again = run(generator, heads, out)
    assert not any(done.problem for done in again)
    assert sum(not done.is_kept for done in again) == 1


def test_all_results_of_a_scan_are_there_or_it_is_made_again(generator, heads, tmp_path):
    out = tmp_path / "made"
    done = run(generator, heads, out, cycle=True)[0]
    assert [path.name for path in done.results] == [
        "sub-1_T1w-as-t2w.nii.gz",
        "sub-1_T1w-as-t2w-and-back.nii.gz",
        "sub-1_T1w-as-t2w-and-back-error.nii.gz",
    ]
    done.results[2].unlink()
    assert [done.is_kept for done in run(generator, heads, out, cycle=True)] == [False, True, True]


def test_results_of_other_settings_are_not_mixed(generator, heads, tmp_path):
    out = tmp_path / "made"
    run(generator, heads, out)
    with pytest.raises(MrgenError, match="other settings"):
        run(generator, heads, out, tile=16)
    assert all(not done.is_kept for done in run(generator, heads, out, tile=16, overwrite=True))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(MrgenError, match="not made by this"):
        run(generator, heads, tmp_path / "mine")


def test_results_among_the_scans_are_no_scans(generator, heads):
    out = heads / "made"
    run(generator, heads, out)
    assert len(run(generator, heads, out)) == 3


# ---- cases --------------------------------------------------------------------------------------


def test_masks_go_with_the_head_that_they_are_of(generator, heads, tmp_path):
    for name in ("sub-1", "sub-3"):
        write_head(tmp_path / "masks" / f"{name}_mask.nii.gz")
    paths = {"t1": heads, "mask": tmp_path / "masks"}
    cases = find_cases(generator.family.generate_inputs, paths, tmp_path / "made")
    assert [sorted(case.inputs) for case in cases] == [["mask", "t1"], ["t1"], ["mask", "t1"]]
    assert cases[2].inputs["mask"].path.name == "sub-3_mask.nii.gz"
    one = tmp_path / "masks" / "sub-1_mask.nii.gz"
    cases = find_cases(
        generator.family.generate_inputs, {"t1": heads, "mask": one}, tmp_path / "made"
    )
    assert [case.inputs["mask"] for case in cases] == [one] * 3


def test_scans_of_one_name_have_results_of_their_own(generator, tmp_path):
    for suffix in (".nii", ".nii.gz"):
        write_head(tmp_path / "heads" / f"a_T1{suffix}")
    found = run(generator, tmp_path / "heads", tmp_path / "made")
    assert len({path for done in found for path in done.results}) == 2


def test_one_folder_of_images_is_taken(generator, heads, tmp_path):
    wanted = generator.family.generate_inputs
    assert folder_role(wanted, {"t1": heads}) == "t1"
    assert folder_role(wanted, {"t1": heads / "x.nii.gz", "mask": heads}) is None
    with pytest.raises(MrgenError, match="one folder of images"):
        folder_role(wanted, {"t1": heads, "t2": heads})


# ---- from the command line ----------------------------------------------------------------------


def test_the_command_line_fills_a_folder(translator, heads, tmp_path, capsys):
    out = tmp_path / "made"
    given = ["generate", str(translator), "--input", f"t1={heads}", "--out", str(out)]
    assert main([*given, "--device", "cpu"]) == OK
    said = capsys.readouterr().out
    assert "1/3 sub-1_T1w.nii.gz: sub-1_T1w-as-t2w.nii.gz" in said
    assert "3 of 3 scans are in" in said
    (heads / "bad_T1w.nii.gz").write_bytes(b"bad")
    assert main([*given, "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert "3 of 4 scans" in said.out
    assert "(3 of them from before)" in said.out
    assert len(said.err.splitlines()) == 2
    assert main([*given, "--set", "cycle=true"]) == MISTAKE
    assert "other settings" in capsys.readouterr().err


def test_one_scan_into_a_folder_is_a_nifti(translator, heads, tmp_path):
    scan = heads / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    out = tmp_path / "made"
    assert main(["generate", str(translator), "--input", f"t1={scan}", "--out", str(out)]) == OK
    assert (out / "sub-1-t1w-as-t2w.nii.gz").exists()


ODD_NAMES = (
    b"caf\xe9_T1w", b"\xd0\xc4\xd4\xe0 1_T1w", b"new\nline_T1w", b"semi; colon_T1w", b" blank _T1w",
    b"l" * 235 + b"_T1w", "ü".encode() * 115 + b"_T1w",
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_of_any_bytes(
    generator: LocalGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads, out = tmp_path / "heads", tmp_path / "made"
    for name in ODD_NAMES:
        write_head(heads / "head.nii.gz", 0)
        os.rename(heads / "head.nii.gz", os.fsencode(heads) + b"/" + name + b".nii.gz")
    first = run(generator, heads, out, stop_after=3)
    assert [done.problem for done in first] == [""] * 3
    (kept, *rest) = run(generator, heads, out)[2:]
    assert kept.is_kept
    assert [done.problem for done in rest] == [""] * 4
    assert all(done.is_kept for done in run(generator, heads, out))
    made = {os.fsencode(path.name) for path in out.glob("*.nii.gz")}
    assert len(made) == len(ODD_NAMES)
    for name in ODD_NAMES[:5]:
        assert name + b"-as-t2w.nii.gz" in made
        sidecar = os.fsencode(out) + b"/" + name + b"-as-t2w.json"
        with open(sidecar, encoding="utf-8") as file:
            source = json.load(file)["source"]["t1"]["path"]
        assert os.fsencode(source) == os.fsencode(heads) + b"/" + name + b".nii.gz"
    for done in rest:
        print_result(done, as_json=False)
        print_result(done, as_json=True)
    said = capsys.readouterr().out.encode()  # All of it can be encoded.
    assert said.count(b"\n") == 2 * len(rest)


def test_json_of_the_user_in_a_folder_of_results(
    generator: LocalGenerator, heads: Path, tmp_path: Path
) -> None:
    out = tmp_path / "made"
    run(generator, heads, out, stop_after=1)
    mine = out / "sub-2" / "anat" / "sub-2_T1w-as-t2w.json"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"RepetitionTime": 2.0}')
    results = [path.name for done in run(generator, heads, out) for path in done.results]
    assert "sub-2_T1w-as-t2w-2.nii.gz" in results
    assert mine.read_text() == '{"RepetitionTime": 2.0}'
    run(generator, heads, out, overwrite=True)
    assert json.loads(mine.read_text())["synthetic"]


def test_a_folder_of_an_earlier_version_goes_on(
    generator: LocalGenerator, heads: Path, tmp_path: Path
) -> None:
    out = tmp_path / "made"
    run(generator, heads, out, stop_after=1)
    record = json.loads((out / SIDECAR).read_text())
    del record["configuration"]["mark_synthetic"]
    (out / SIDECAR).write_text(json.dumps(record))
    assert [done.is_kept for done in run(generator, heads, out)] == [True, False, False]
