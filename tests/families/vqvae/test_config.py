import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.families.vqvae.config import POSITIONS, PRESETS, TINY


@pytest.mark.parametrize("name", PRESETS)
def test_the_transformer_never_sees_more_than_it_can(name: str) -> None:
    config = PRESETS[name].config
    assert config.side == config.size // config.factor
    assert config.side // config.merge <= POSITIONS
    assert config.side % config.merge == 0


def test_the_seed_is_the_published_system():
    seed = PRESETS["published"].config
    assert (seed.codes, seed.code_size, seed.size, seed.side) == (512, 64, 256, 64)
    assert (seed.network, seed.prior) == ("published", "dcgan")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": 132, "factor": 8}, "With a factor of 8 the size must be a multiple of 16"),
        ({"factor": 8, "patch": 36}, "The patch must be a multiple of the factor 8"),
        ({"network": "published", "factor": 8}, "The published network has a factor of 4"),
        ({"prior_width": 20}, "prior_width must be a multiple of 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(MrgenError, match=sentence):
        PRESETS["quick"].config.with_values(values)


def test_a_stage_without_steps_is_left_out():
    assert TINY.stages == ("vqvae", "texture", "prior")
    assert TINY.with_values({"texture_steps": 0}).stages == ("vqvae", "prior")
    assert TINY.with_values({"prior_steps": 0}).stages == ("vqvae", "texture")


@pytest.mark.parametrize("stage", ["texture", "prior"])
def test_a_later_stage_alone_needs_codes_to_start_from(stage: str) -> None:
    TINY.check_stage(stage, has_start=True)
    TINY.check_stage("vqvae", has_start=False)
    with pytest.raises(MrgenError, match="name the run or model to start from"):
        TINY.check_stage(stage, has_start=False)


def test_a_stage_that_was_left_out_is_refused():
    with pytest.raises(MrgenError, match="known"):
        TINY.with_values({"prior_steps": 0}).check_stage("prior", has_start=True)
