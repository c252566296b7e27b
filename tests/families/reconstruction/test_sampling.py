"""Reconstruction of a simulated scan, of images with artefacts, and of k-space in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mrgen.data import realtime
from napari_mrgen.data.undersampled import is_radial, radial_slices
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import (
    ReconstructionConfig,
    ReconstructionGenerateConfig,
)
from napari_mrgen.families.reconstruction.networks import reconstructor_networks
from napari_mrgen.families.reconstruction.sampling import reconstruct_input
from napari_mrgen.families.reconstruction.scoring import spread_slices
from napari_mrgen.io.find import find
from napari_mrgen.kspace import KSpace
from napari_mrgen.mri import gridding
from napari_mrgen.samples import beating_heart
from napari_mrgen.volume import Source, Volume, upright_affine
from tests.io.kspace_files import write_bart

TRAINED = ReconstructionConfig(width=4, consistency_steps=1, coils=2, spokes=7)


def run(
    inputs: Mapping[str, Volume], trained: ReconstructionConfig = TRAINED, **values: object
) -> list[Volume]:
    torch.manual_seed(0)
    config = ReconstructionGenerateConfig.parse(values)
    networks = reconstructor_networks(trained, ())
    generator = torch.Generator().manual_seed(0)
    return list(reconstruct_input(networks, trained, config, inputs, generator, {}))


@pytest.fixture(scope="module")
def heart() -> Volume:
    return beating_heart(0, frames=10, slices=2, size=40)[0]


def test_a_simulated_scan_comes_back_in_its_place_and_time(heart: Volume) -> None:
    series, zero_filled, shared = run({"cine": heart}, include_inputs=True)
    for volume in (series, zero_filled, shared):
        assert volume.array.shape == heart.array.shape
        assert volume.array.dtype == heart.array.dtype
        assert volume.times == heart.times
        np.testing.assert_array_equal(volume.affine, heart.affine)
    assert zero_filled.provenance == {"part": "input", "source_is": "truth"}
    # An untrained network gives the view-shared series.
    np.testing.assert_array_equal(series.array, shared.array)


def test_more_spokes_come_nearer(heart: Volume) -> None:
    errors = []
    for spokes in (7, 60):
        series = run({"cine": heart}, spokes=spokes, noise=0.0, include_inputs=True)[1]
        errors.append(float(np.abs(series.array.astype(float) - heart.array).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_images_with_artefacts_need_a_network_of_images(heart: Volume) -> None:
    with pytest.raises(MrgenError, match="measured data"):
        run({"undersampled": heart})
    trained = TRAINED.with_values({"network": "unet2d1d", "depth": 2})
    (series,) = run({"undersampled": heart}, trained)
    assert series.array.shape == heart.array.shape


def test_one_input_is_taken(heart: Volume) -> None:
    with pytest.raises(MrgenError, match="one series"):
        run({"cine": heart, "undersampled": heart})


def radial(frames: int = 9, size: int = 32) -> KSpace:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(frames, size, size, generator=g)
    maps = realtime.random_maps(2, (size, size), g)
    scan = realtime.scan(images, realtime.Protocol(9), maps, 0.0, g)
    return KSpace(
        scan.samples.numpy()[:, None], scan.shape, upright_affine(), scan.trajectory.numpy()
    )


def test_radial_samples_are_weighted_as_spokes() -> None:
    (samples,) = radial_slices(radial())
    torch.testing.assert_close(samples.weights, gridding.radial_weights(samples.trajectory))


def test_only_spokes_are_taken_for_spokes() -> None:
    turn = torch.linspace(0, 60, 900)
    even = turn.sqrt()  # A spiral of constant speed: steps of one length, but not straight.
    spiral = torch.stack([even * even.sin(), even * even.cos()], -1)[None] / 8
    assert is_radial(torch.from_numpy(radial().trajectory))
    assert not is_radial(spiral)
    assert not is_radial(torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0)))


def test_samples_on_a_grid_are_refused() -> None:
    grid = KSpace(np.ones((1, 1, 1, 8, 8), np.complex64), (8, 8), upright_affine())
    with pytest.raises(MrgenError, match="on a grid"):
        list(radial_slices(grid))


def test_an_image_without_a_file_of_kspace_is_refused(heart: Volume) -> None:
    with pytest.raises(MrgenError, match="has no file of k-space"):
        run({"kspace": heart.with_array(heart.array, source=Source("none.h5"))})


def test_a_file_of_radial_kspace_becomes_a_cine(tmp_path: Path) -> None:
    size, spokes, frames = 32, 9, 9
    scan = radial(frames, size)
    assert scan.trajectory is not None
    samples = scan.samples[:, 0].reshape(frames, 2, spokes, 2 * size)
    places = np.zeros((frames, 3, spokes, 2 * size))
    waves = scan.trajectory * (size / (2 * np.pi))
    places[:, :2] = waves[..., ::-1].transpose(0, 2, 1).reshape(frames, 2, spokes, -1)
    idle = (1,) * 6
    write_bart(
        tmp_path / "scan.cfl",
        samples.transpose(3, 2, 1, 0).reshape(1, 2 * size, spokes, 2, *idle, frames),
    )
    write_bart(
        tmp_path / "scan_traj.cfl",
        places.transpose(1, 3, 2, 0).reshape(3, 2 * size, spokes, 1, *idle, frames),
    )
    image = find(tmp_path / "scan.cfl")[0].read()
    series, zero_filled = run({"kspace": image}, include_inputs=True)[:2]
    assert series.array.shape == (frames, 1, size, size)
    assert series.name == "scan reconstructed"
    np.testing.assert_array_equal(series.affine, image.affine)
    # Zero-filled along its spokes it looks as the reader shows it, but for the scale.
    correlation = np.corrcoef(zero_filled.array[0].ravel(), image.array[0].ravel())[0, 1]
    assert correlation > 0.8


@pytest.mark.parametrize(("count", "places"), [(1, [0]), (2, [0, 1]), (9, [1, 4, 7])])
def test_scored_slices_are_spread(count: int, places: list[int]) -> None:
    assert spread_slices(count) == places
