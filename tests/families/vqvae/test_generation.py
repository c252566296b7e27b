from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from napari_mrgen.errors import MrgenError
from napari_mrgen.families.vqvae.config import TINY, VqVaeGenerateConfig
from napari_mrgen.families.vqvae.sampling import generate_slices, sample_slices
from napari_mrgen.volume import Volume

Networks = dict[str, nn.Module]
DATA = {"shape": [32, 32], "spacing_mm": [2.0, 6.0, 6.0], "plane": "axial"}


def results(
    networks: Networks, inputs: Mapping[str, Volume] | None = None, **settings: object
) -> list[Volume]:
    config, unused = VqVaeGenerateConfig.parse(settings), torch.Generator()
    trained = TINY.with_values({"plane": DATA["plane"]})
    return list(generate_slices(networks, trained, config, inputs or {}, unused, DATA))


def world(volume: Volume, place: tuple[float, float, float]) -> np.ndarray:
    return (volume.affine @ [*place, 1])[:3]


class TestReconstruction:
    def test_three_volumes_lie_where_the_image_lies(self, tiny: Networks, head: Volume) -> None:
        found, codes, error = results(tiny, {"image": head})
        assert [v.kind for v in (found, codes, error)] == ["image", "labels", "image"]
        for volume in (found, error):
            assert volume.array.shape == head.array.shape
            np.testing.assert_array_equal(volume.affine, head.affine)
        np.testing.assert_allclose(error.array, np.abs(found.array - head.array), rtol=1e-5)

    def test_a_code_lies_in_the_middle_of_its_pixels(self, tiny: Networks, head: Volume) -> None:
        """Phantoms are 84 x 104 x 84; a slice shrinks by 104 / 32 and gets borders of 3 pixels."""
        codes = results(tiny, {"image": head})[1]
        assert codes.array.shape == (84, 8, 8)
        factor = 104 / 32
        assert codes.spacing == pytest.approx((2.0, 4 * factor * 2, 4 * 84 / 26 * 2))
        for row, column in ((0, 1), (5, 6)):
            y = (4 * row + 2) * factor - 0.5
            x = (4 * column + 2 - 3) * 84 / 26 - 0.5
            np.testing.assert_allclose(world(codes, (7, row, column)), world(head, (7, y, x)))

    def test_codes_are_labels_from_one_on(self, tiny: Networks, head: Volume) -> None:
        array = results(tiny, {"image": head})[1].array
        assert array.min() >= 1
        assert array.max() <= TINY.codes


class TestSamples:
    def test_they_have_the_size_of_training_slices(self, tiny: Networks) -> None:
        (volume,) = results(tiny, samples=3)
        assert (volume.axes, volume.array.shape) == ("nzyx", (3, 1, 32, 32))
        assert volume.spacing == pytest.approx((2.0, 6.0, 6.0))
        assert volume.samples["index"] == [0, 1, 2]
        assert len(set(volume.samples["level"])) == 3

    def test_they_come_in_blocks_of_one_name(self, tiny: Networks) -> None:
        found = results(tiny, samples=70, decoding_steps=1)
        assert [volume.size("n") for volume in found] == [64, 6]
        assert len({volume.name for volume in found}) == 1

    def test_a_sample_follows_from_seed_and_index(self, tiny: Networks) -> None:
        config = VqVaeGenerateConfig(seed=5)
        whole, _ = sample_slices(tiny, TINY, config, range(20))
        part, columns = sample_slices(tiny, TINY, config, range(11, 14))
        assert torch.equal(part, whole[11:14])
        assert len(columns["level"]) == 3
        other, _ = sample_slices(tiny, TINY, VqVaeGenerateConfig(seed=6), range(20))
        assert not torch.equal(whole, other)

    def test_what_was_asked_for_is_in_the_table(self, tiny: Networks) -> None:
        (volume,) = results(tiny, samples=2, level=0.25, age=40, sex="F")
        conditions = volume.samples
        assert conditions == {
            "index": [0, 1],
            "level": [0.25] * 2,
            "age": [40.0] * 2,
            "sex": ["F"] * 2,
        }

    def test_the_generator_draws_too(self, tiny_gan: Networks) -> None:
        (volume,) = results(tiny_gan, samples=2)
        assert np.isfinite(volume.array).all()


class TestCompletion:
    @pytest.fixture
    def mask(self, head: Volume) -> Volume:
        array = np.zeros(head.array.shape, np.uint8)
        array[40:42, 30:60, 20:50] = 1
        return head.with_array(array, kind="labels")

    def test_what_is_not_marked_is_returned_unchanged(
        self, tiny: Networks, head: Volume, mask: Volume
    ) -> None:
        (found,) = results(tiny, {"image": head, "mask": mask})
        outside = mask.array == 0
        assert found.array.dtype == head.array.dtype
        np.testing.assert_array_equal(found.array[outside], head.array[outside])
        assert (found.array != head.array).any()
        np.testing.assert_array_equal(found.affine, head.affine)

    def test_samples_differ_only_where_it_is_marked(
        self, tiny: Networks, head: Volume, mask: Volume
    ) -> None:
        (found,) = results(tiny, {"image": head, "mask": mask}, samples=2)
        assert found.axes == "nzyx"
        differ = found.array[0] != found.array[1]
        assert differ.any()
        assert not differ[mask.array == 0].any()

    def test_whole_numbers_stay_whole(self, tiny: Networks, head: Volume, mask: Volume) -> None:
        whole = head.with_array(head.array.astype(np.int16))
        (found,) = results(tiny, {"image": whole, "mask": mask})
        assert found.array.dtype == np.int16

    def test_masks_that_do_not_fit_are_refused(self, tiny: Networks, head: Volume) -> None:
        empty = head.with_array(np.zeros(head.array.shape, np.uint8), kind="labels")
        with pytest.raises(MrgenError, match="Nothing is marked"):
            results(tiny, {"image": head, "mask": empty})
        small = head.with_array(np.ones((2, 2, 2), np.uint8), kind="labels")
        with pytest.raises(MrgenError, match="expected the image's"):
            results(tiny, {"image": head, "mask": small})


def test_what_a_model_cannot_do_is_said(tiny: Networks, tiny_gan: Networks, head: Volume) -> None:
    mask = head.with_array(np.ones(head.array.shape, np.uint8), kind="labels")
    first_stage = {name: tiny[name] for name in ("encoder", "codebook", "decoder")}
    with pytest.raises(MrgenError, match="no prior over its codes"):
        results(first_stage)
    with pytest.raises(MrgenError, match="cannot complete"):
        results(tiny_gan, {"image": head, "mask": mask})
    with pytest.raises(MrgenError, match="'image' is missing"):
        results(tiny, {"mask": mask})
    with pytest.raises(MrgenError, match="'mask' is missing"):
        results(tiny, {"image": head}, task="complete")


def test_a_given_image_can_be_left_aside(tiny: Networks, head: Volume) -> None:
    (volume,) = results(tiny, {"image": head}, task="sample")
    assert volume.name == "vqvae samples"
