import numpy as np
import pytest

from napari_mrgen.kspace import KSpace

GRID = np.zeros((2, 1, 3, 8, 16), np.complex64)
SPOKES = np.zeros((2, 1, 3, 40), np.complex64)
PLACES = np.zeros((2, 40, 2), np.float32)


def test_sizes_and_what_was_measured():
    samples = GRID.copy()
    samples[1, 0, 2, 3] = 1j
    kspace = KSpace(samples, (8, 8), np.eye(4))
    assert (kspace.frames, kspace.slices, kspace.coils) == (2, 1, 3)
    assert kspace.sampled.shape == (2, 8, 16)
    assert kspace.sampled.sum() == kspace.sampled[1, 3].sum() == 16


def test_samples_along_a_trajectory():
    kspace = KSpace(SPOKES + 1, (8, 8), np.eye(4), PLACES)
    assert (kspace.frames, kspace.coils) == (2, 3)
    assert kspace.sampled.all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": GRID[0]}, "expected complex64 samples \\(t z c y x\\)"),
        ({"samples": GRID.astype(np.complex128)}, "got complex128"),
        ({"samples": GRID, "shape": (9, 8)}, "has no image of \\(9, 8\\)"),
        ({"samples": SPOKES, "trajectory": PLACES[:1]}, "expected places \\(2, 40, 2\\)"),
        ({"samples": GRID, "trajectory": PLACES}, "samples \\(t z c k\\)"),
        ({"samples": GRID, "affine": np.eye(3)}, "affine"),
        ({"samples": GRID, "times": (0.0,)}, "times: expected 2, got 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        KSpace(**{"shape": (8, 8), "affine": np.eye(4), **fields})
