"""ONNX files do what PyTorch does, whatever the sizes; a file that does not is not kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from napari_mrgen import families
from napari_mrgen.app.jobs.file import Job
from napari_mrgen.app.jobs.run import JobOutcome, run_jobs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.errors import MrgenError
from napari_mrgen.service import export as exporting
from napari_mrgen.service.export import TIES, TOLERANCE, export, export_model, run
from tests.service.conftest import write_model

NETWORKS = {
    "frame_prediction": ["generator", "texture"],
    "dcgan": ["generator"],
    "vqvae": ["encoder", "decoder", "transformer"],
    "cyclegan": ["t1_to_t2", "t2_to_t1"],
    "reconstruction": ["reconstructor"],
}


@pytest.mark.parametrize("family", NETWORKS)
def test_every_network_is_the_same_at_every_size(
    family: str, models: Callable[[str], Path], tmp_path: Path
) -> None:
    found = list(export(models(family), tmp_path / "m.onnx"))
    assert [one.name for one in found] == NETWORKS[family]
    for one in found:
        assert one.path.exists()
        assert len(one.sizes) >= 3
        made = onnx.load(one.path).graph.output[0].type.tensor_type.elem_type
        assert one.difference <= (TOLERANCE if made == onnx.TensorProto.FLOAT else TIES)


def test_sizes_that_were_not_tried_work_too(models: Callable[[str], Path], tmp_path: Path) -> None:
    path = models("cyclegan")
    first = next(iter(export(path, tmp_path / "m.onnx")))
    network = load_model(path, families.get).networks[first.name]
    volume = torch.rand(1, 1, 23, 14, 31, generator=torch.Generator().manual_seed(3))
    (name,) = first.inputs
    found = run(first.path, {name: volume.numpy()})
    assert found is not None
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), network(volume), rtol=0, atol=TOLERANCE)


def test_a_job_leaves_a_file_that_runs_without_this_program(hearts: Path, tmp_path: Path) -> None:
    job = Job(
        name="job", family="reconstruction", preset="tiny", inputs={"cine": hearts},
        settings={"network": "unet2d1d", "depth": 3, "steps": 2}, device="cpu",
        out=tmp_path / "job", export="onnx",
    )  # fmt: skip
    *_, outcome = run_jobs([job], Control(), export=export_model)
    assert isinstance(outcome, JobOutcome)
    assert outcome.state == "finished", outcome.problem
    session = onnxruntime.InferenceSession(job.out / "export" / "model.onnx")
    network = load_model(job.out, families.get).networks["reconstructor"].eval()
    g = torch.Generator().manual_seed(0)
    for frames, *sides in ((9, 64, 64), (20, 33, 47), (5, 96, 80)):
        series = torch.rand(1, 4, frames, *sides, generator=g)
        (made,) = session.run(None, {"inputs": series.numpy()})
        with torch.no_grad():
            wanted = network(series)
        torch.testing.assert_close(torch.from_numpy(made), wanted, rtol=0, atol=TOLERANCE)


def test_a_network_that_goes_back_to_the_samples_is_refused(tmp_path: Path) -> None:
    model = write_model("reconstruction", tmp_path / "model.safetensors")
    with pytest.raises(MrgenError, match="computes with complex numbers"):
        next(export(model))
    assert list(tmp_path.iterdir()) == [model]


def test_a_file_says_what_it_is(models: Callable[[str], Path], tmp_path: Path) -> None:
    (one,) = export(models("dcgan"), tmp_path / "m.onnx")
    assert one.path == tmp_path / "m.onnx"
    facts = {entry.key: entry.value for entry in onnx.load(one.path).metadata_props}
    assert facts["family"] == "dcgan"
    assert "not for diagnosis" in facts["notice"]
    assert facts["model sha256"] == load_model(models("dcgan"), families.get).hash
    with pytest.raises(MrgenError, match="exists already"):
        next(export(models("dcgan"), tmp_path / "m.onnx"))
    with pytest.raises(MrgenError, match=r"must end in \.onnx"):
        next(export(models("dcgan"), tmp_path / "m.pt"))


class Doubling(nn.Module):
    """Pads only where it must, which an exporter takes for never."""

    def forward(self, x: Tensor) -> Tensor:
        missing = x.shape[-1] % 2
        padded = nn.functional.pad(x, (0, missing)) if missing else x
        return padded.unflatten(-1, (-1, 2)).sum(-1)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.complex64))


def exportable(module: nn.Module, *sizes: int) -> Exportable:
    inputs = (Port("x", ("b", "n")),)
    pairs = tuple({"b": 2, "n": size} for size in sizes)
    return Exportable("network", module, inputs, "y", pairs, "")


def test_what_differs_is_refused_and_not_kept(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load_model(models("dcgan"), families.get)
    with pytest.raises(MrgenError, match=r"'network' .*at b 2, n 7"):
        exporting._export(exportable(Doubling(), 8, 7, 6), tmp_path / "m.onnx", model)
    assert not list(tmp_path.iterdir())


def test_complex_numbers_are_refused(models: Callable[[str], Path], tmp_path: Path) -> None:
    model = load_model(models("dcgan"), families.get)
    with pytest.raises(MrgenError, match="complex"):
        exporting._export(exportable(Complex(), 8), tmp_path / "m.onnx", model)


def test_a_file_that_the_runtime_does_not_take_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no network")
    assert run(tmp_path / "m.onnx", {}) is None
