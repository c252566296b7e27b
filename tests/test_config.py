"""A Config that exists is valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError, model_validator

from napari_mrgen import families
from napari_mrgen.config import Config, is_plain, setting
from napari_mrgen.errors import MrgenError


class Pair(Config):
    low: int = setting(0)
    """Comes first."""
    high: int = setting(1)
    """Comes after it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            msg = f"The low ({self.low}) must be below the high ({self.high})"
            raise ValueError(msg)
        return self


class Small(Config):
    rate: float = setting(1e-4, gt=0, unit="1/step")
    """How fast it learns."""
    kind: Literal["a", "b"] = setting("a")
    """Which kind."""
    shape: tuple[int, int] | None = setting(None)
    """Shape, if any."""
    folder: Path | None = setting(None, level="advanced")
    """Where."""


class Renamed(Config):
    discriminator_width: int = setting(8, ge=1, old="judge_width")
    """Channels of the discriminator's first layer."""
    network: Literal["unet", "published"] = setting("unet", old_values={"simple": "published"})
    """Network."""


@given(
    st.floats(1e-12, 1e12),
    st.sampled_from(["a", "b"]),
    st.none() | st.tuples(st.integers(), st.integers()),
)
def test_yaml_and_back(rate: float, kind: str, shape: tuple[int, int] | None) -> None:
    config = Small.parse({"rate": rate, "kind": kind, "shape": shape, "folder": "some/where"})
    assert Small.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"speed": 1}, "There is no setting 'speed'"),
        ({"rate": 0}, "rate: input should be greater than 0, got 0."),
        ({"rate": "fast"}, "rate: .*, got 'fast'."),
        ({"kind": "c"}, "kind: input should be 'a' or 'b', got 'c'."),
        ({"shape": [1]}, "shape"),
    ],
)
def test_a_bad_value_is_one_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(MrgenError, match=said) as caught:
        Small.parse(values)
    assert "\n" not in str(caught.value)


def test_values_that_do_not_go_together_are_one_sentence() -> None:
    with pytest.raises(MrgenError) as caught:
        Pair.parse({"low": 2})
    assert str(caught.value) == "The low (2) must be below the high (1)."


@pytest.mark.parametrize("text", ["- a\n- b", "rate: [", "3", ""])
def test_a_bad_file_is_one_sentence(text: str) -> None:
    with pytest.raises(MrgenError) as caught:
        Small.from_yaml(text)
    assert "\n" not in str(caught.value)


def test_it_cannot_be_changed_but_copied() -> None:
    config = Small()
    with pytest.raises(ValidationError):
        config.rate = 1.0
    assert config.with_values({"rate": 2.0}).rate == 2.0
    assert config.rate == 1e-4
    with pytest.raises(MrgenError):
        config.with_values({"rate": -1.0})


def test_docstring_unit_and_level_are_with_the_field() -> None:
    field = Small.model_fields["rate"]
    assert field.description == "How fast it learns."
    assert field.json_schema_extra == {"unit": "1/step", "level": "basic"}


@pytest.mark.parametrize(
    "annotation",
    [bool, int, float, Path, Literal["a"], tuple[int, float], int | None, tuple[int, int] | None],
)
def test_a_form_can_show(annotation: Any) -> None:
    assert is_plain(annotation)


@pytest.mark.parametrize(
    "annotation", [str, list[int], dict[str, int], int | float, tuple[int, ...], Any, Config]
)
def test_a_form_cannot_show(annotation: Any) -> None:
    assert not is_plain(annotation)


def test_a_field_that_no_form_can_show_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bad\.names"):

        class Bad(Config):
            names: list[int]


def test_an_old_name_is_read() -> None:
    for config in (
        Renamed.parse({"judge_width": 3}),
        Renamed.from_yaml("judge_width: 3"),
        Renamed().with_values({"judge_width": 3}),
        Renamed.model_validate({"judge_width": 3}),
    ):
        assert config == Renamed(discriminator_width=3)
    assert "judge_width" not in Renamed(discriminator_width=3).to_yaml()


def test_an_old_choice_is_read() -> None:
    assert Renamed.parse({"network": "simple"}).network == "published"
    assert Renamed().with_values({"network": "simple"}).network == "published"
    with pytest.raises(MrgenError, match="'unet' or 'published', got 'other'"):
        Renamed.parse({"network": "other"})


def test_an_error_names_the_setting_as_it_is_called_today() -> None:
    with pytest.raises(MrgenError, match=r"^discriminator_width: .* equal to 1, got 0.$"):
        Renamed.parse({"judge_width": 0})
    with pytest.raises(MrgenError, match="There is no setting 'judge_widths'"):
        Renamed.parse({"judge_widths": 1})


@pytest.mark.parametrize("read", [Renamed.parse, Renamed().with_values])
def test_an_old_and_a_new_name_together_are_refused(read: Any) -> None:
    with pytest.raises(MrgenError) as caught:
        read({"judge_width": 3, "discriminator_width": 4})
    message = "judge_width is an old name of discriminator_width; give only discriminator_width."
    assert str(caught.value) == message


@pytest.mark.parametrize("family", ["dcgan", "vqvae"])
@pytest.mark.parametrize("last", [0.5, 0.4])
def test_slices_must_have_an_order(family: str, last: float) -> None:
    with pytest.raises(MrgenError) as caught:
        families.get(family).preset("tiny").with_values({"first": 0.5, "last": last})
    assert str(caught.value) == f"The first slice (0.5) must come before the last ({last})."
