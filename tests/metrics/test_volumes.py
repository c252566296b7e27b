import numpy as np
import pytest
import torch
from skimage.filters import threshold_multiotsu
from skimage.metrics import normalized_root_mse, structural_similarity

from napari_mrgen.metrics.images import psnr, ssim
from napari_mrgen.metrics.volumes import compare_tissues, compare_volumes, nrmse


@pytest.fixture
def volumes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    real = torch.rand(14, 18, 16, generator=g)
    mask = torch.zeros(14, 18, 16)
    mask[5:9, 4:13, 5:12] = 1
    return real + 0.1 * torch.randn(14, 18, 16, generator=g), real, mask


def test_ssim_of_volumes_agrees_with_scikit_image(volumes):
    made, real, _ = volumes
    expected = structural_similarity(
        real.numpy(), made.numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert float(ssim(made, real, dims=3)) == pytest.approx(expected, abs=1e-4)


def test_ssim_of_a_volume_thinner_than_its_window_is_refused(volumes):
    made, real, _ = volumes
    with pytest.raises(ValueError, match="at least 11x11x11 pixels, got 10x18x16"):
        ssim(made[:10], real[:10], dims=3)


def test_nrmse_agrees_with_scikit_image(volumes):
    made, real, _ = volumes
    expected = normalized_root_mse(real.numpy(), made.numpy())
    assert float(nrmse(made, real)) == pytest.approx(expected, rel=1e-4)


def test_a_volume_is_all_like_itself(volumes):
    _, real, mask = volumes
    figures = compare_volumes(real, real, mask)
    assert figures["PSNR in brain"] == np.inf
    ones = ("SSIM in brain", "SSIM", "volume agreement", "tissue Dice")
    assert [figures[name] for name in ones] == pytest.approx([1] * 4)
    assert [figures[name] for name in ("NRMSE", "NRMSE in brain", "histogram")] == [0] * 3


def test_figures_of_the_brain_do_not_see_what_is_around_it(volumes):
    made, real, mask = volumes
    figures = compare_volumes(made, real, mask)
    spoilt = compare_volumes(torch.where(mask.bool(), made, 9.0), real, mask)
    for name in ("PSNR in brain", "NRMSE in brain", "histogram", "volume agreement", "tissue Dice"):
        assert spoilt[name] == figures[name]
    assert spoilt["PSNR"] < figures["PSNR"]


def test_figures_are_those_of_the_plain_measures(volumes):
    made, real, mask = volumes
    figures = compare_volumes(made, real, mask)
    assert figures["PSNR in brain"] == pytest.approx(float(psnr(made, real, mask=mask, dims=3)))
    assert figures["SSIM in brain"] == pytest.approx(float(ssim(made, real, mask=mask, dims=3)))
    assert figures["SSIM"] == pytest.approx(float(ssim(made, real, dims=3)))


def test_a_slab_has_all_figures_but_ssim(volumes):
    made, real, mask = (volume[4:10] for volume in volumes)
    figures = compare_volumes(made, real, mask)
    assert not any("SSIM" in name for name in figures)
    assert all(np.isfinite(value) for value in figures.values())


def tissues(*counts: int) -> torch.Tensor:
    values = (0.1, 0.5, 0.9)
    return torch.cat([torch.full((n,), v) for n, v in zip(counts, values, strict=True)])


def test_tissue_in_the_wrong_place_changes_the_overlap_but_not_the_volumes():
    real = tissues(50, 30, 20)
    figures = compare_tissues(real.flip(0), real)
    assert figures["volume agreement"] == 1
    assert figures["tissue Dice"] == 0


def test_volumes_agree_less_by_what_is_of_another_tissue():
    figures = compare_tissues(tissues(60, 20, 20), tissues(50, 30, 20))
    assert figures["volume agreement"] == pytest.approx(0.9)
    dice = (2 * 50 / 110 + 2 * 20 / 50 + 1) / 3
    assert figures["tissue Dice"] == pytest.approx(dice)


def test_tissues_are_those_of_scikit_image():
    g = torch.Generator().manual_seed(1)
    real = (tissues(500, 300, 200) + 0.03 * torch.randn(1000, generator=g)).clamp(0, 1)
    limits = threshold_multiotsu(real.numpy(), 3)
    made = torch.where(real < limits[0], 0.0, torch.where(real > limits[1], 1.0, 0.5))
    assert compare_tissues(made, real)["tissue Dice"] == pytest.approx(1)


def test_one_tissue_alone_has_figures():
    assert compare_tissues(torch.rand(50), torch.zeros(50)).keys() == {
        "volume agreement",
        "tissue Dice",
    }
