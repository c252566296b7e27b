"""The manifest: found by napari, the same at both places, naming only what is there."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManager, PluginManifest

import napari_mrgen

NAME = "napari-mrgen"
INSIDE = Path(napari_mrgen.__file__).with_name("napari.yaml")
ON_TOP = INSIDE.parents[1] / "napari.yaml"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(INSIDE)


def test_napari_finds_the_plugin_by_the_name_of_the_distribution() -> None:
    points = [point for point in entry_points(group="napari.manifest") if point.name == NAME]
    if not points:
        pytest.skip(f"{NAME} is not installed; `pip install -e .` installs it")
    found = PluginManifest.from_distribution(NAME)
    assert found.name == NAME == points[0].dist.name  # type: ignore[union-attr]


def test_the_manifest_on_top_is_the_one_inside() -> None:
    if not ON_TOP.exists() or ON_TOP.read_text("utf-8").strip().endswith(
        "napari_mrgen/napari.yaml"
    ):
        pytest.skip("no symbolic links in this checkout")
    assert ON_TOP.read_text("utf-8") == INSIDE.read_text("utf-8")


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands or ():
        assert command.python_name is not None
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id


def test_every_command_is_used(manifest: PluginManifest) -> None:
    text = yaml.safe_load(INSIDE.read_text("utf-8"))["contributions"]
    used = {
        item.get("command") for key, items in text.items() if key != "commands" for item in items
    }
    assert {command["id"] for command in text["commands"]} <= used


@pytest.mark.parametrize(
    ("path", "layers", "command"),
    [
        ("o.nii.gz", ["image"], "write_nifti"),
        ("O.NII.GZ", ["labels"], "write_nifti"),
        ("o.v1.nii", ["image", "labels", "image"], "write_nifti"),
        ("o", ["image"], "write_nifti"),
        ("o.gif", ["image"], "write_movie"),
        ("o.mp4", ["image", "labels"], "write_movie"),
        ("o.png", ["image"], "write_movie"),
    ],
)
def test_the_writer_for_a_name(path: str, layers: list[str], command: str) -> None:
    manager = PluginManager()
    manager.register(PluginManifest.from_file(INSIDE))
    writer, _ = manager.get_writer(path, layers)
    assert writer is not None
    assert writer.command == f"{NAME}.{command}"


def test_opening_and_saving_import_neither_torch_nor_napari(tmp_path: Path) -> None:
    code = (
        "import sys; from napari_mrgen.io import plugin;"
        "path = sys.argv[1]; plugin.write_nifti(path, plugin.sample_heart()[:1]);"
        "plugin.get_reader(path)(path);"
        "print([name for name in ('torch', 'napari', 'av') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "heart.nii.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
