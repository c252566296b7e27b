from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_mrgen.engine.task import Draws
from napari_mrgen.families.vqvae.networks import codebook
from napari_mrgen.families.vqvae.sampling import complete_slices, fill_codes, fill_in, sample_codes

CONDITIONS = torch.tensor([[0.2, 0, 0, 0], [0.8, 0.4, 1, 1]])
DRAWS = [Draws(("test", index)) for index in range(2)]


class Oracle(nn.Module):
    """Knows which code belongs where, and notes what it is asked."""

    def __init__(self, truth: Tensor, codes: int) -> None:
        super().__init__()
        self.truth, self.codes = truth, codes
        self.asked: list[int] = []

    def forward(self, indices: Tensor, hidden: Tensor, conditions: Tensor, codes: Tensor) -> Tensor:
        self.asked.append(int(hidden.sum()))
        logits = nn.functional.one_hot(self.truth, self.codes).movedim(-1, 1)
        return 100.0 * logits


@pytest.fixture(params=["tiny", "tiny_gan"])
def networks(request: pytest.FixtureRequest) -> dict[str, nn.Module]:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_a_map_follows_from_its_own_draws(networks: dict[str, nn.Module]) -> None:
    both = sample_codes(networks, CONDITIONS, DRAWS, 8)
    assert both.shape == (2, 8, 8)
    assert int(both.min()) >= 0
    assert int(both.max()) < 16
    again = sample_codes(networks, CONDITIONS.flip(0), DRAWS[::-1], 8).flip(0)
    assert torch.equal(both, again)
    other = sample_codes(networks, CONDITIONS, [Draws(("other", index)) for index in range(2)], 8)
    assert not torch.equal(both, other)


def test_known_codes_stay(tiny: dict[str, nn.Module]) -> None:
    indices = torch.randint(16, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(2, 8, 8, dtype=torch.bool)
    hidden[0, 2:5, 3:7] = True
    found = fill_codes(tiny, indices, hidden, CONDITIONS, DRAWS, steps=3)
    assert torch.equal(found[~hidden], indices[~hidden])
    assert torch.equal(found[1], indices[1])


@pytest.mark.parametrize("steps", [1, 4, 12])
def test_what_is_sure_is_drawn_and_less_is_hidden_each_time(
    tiny: dict[str, nn.Module], steps: int
) -> None:
    truth = torch.randint(16, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    oracle = Oracle(truth, 16)
    hidden = torch.ones(2, 8, 8, dtype=torch.bool)
    found = fill_codes({**tiny, "transformer": oracle}, 0 * truth, hidden, CONDITIONS, DRAWS, steps)
    assert torch.equal(found, truth)
    assert len(oracle.asked) == steps
    assert oracle.asked == sorted(oracle.asked, reverse=True)
    assert oracle.asked[0] == 128


def test_low_temperature_draws_the_likeliest(tiny: dict[str, nn.Module]) -> None:
    conditions, hidden = CONDITIONS[:1], torch.ones(1, 8, 8, dtype=torch.bool)
    nothing = torch.zeros(1, 8, 8, dtype=torch.long)
    likeliest = tiny["transformer"](nothing, hidden, conditions, codebook(tiny).codes).argmax(1)
    found = fill_codes(tiny, nothing, hidden, conditions, DRAWS[:1], steps=1, temperature=1e-4)
    assert torch.equal(found, likeliest)


class TestCompletion:
    images = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[:, 9:20, 5:14] = True

    def test_what_is_not_marked_stays(self, tiny: dict[str, nn.Module]) -> None:
        found = complete_slices(tiny, self.images, self.masks, CONDITIONS, DRAWS)
        assert torch.equal(found[~self.masks], self.images[~self.masks])
        assert not torch.equal(found[self.masks], self.images[self.masks])

    def test_what_was_there_is_not_looked_at(self, tiny: dict[str, nn.Module]) -> None:
        other = self.images.masked_fill(self.masks, 1.0)
        found = [
            complete_slices(tiny, i, self.masks, CONDITIONS, DRAWS) for i in (self.images, other)
        ]
        assert torch.equal(*found)

    def test_holes_are_filled_with_what_is_near(self) -> None:
        ramp = torch.linspace(0, 1, 32).expand(1, 32, 32).clone()
        hole = self.masks[:1]
        filled = fill_in(ramp.masked_fill(hole, 9.0), hole)
        assert torch.equal(filled[~hole], ramp[~hole])
        torch.testing.assert_close(filled, ramp, atol=0.15, rtol=0)

    def test_a_slice_that_is_marked_all_over_becomes_black(self) -> None:
        mask = torch.ones(1, 32, 32, dtype=torch.bool)
        assert not fill_in(self.images[:1], mask).any()
