"""Codebooks: what they assign, how codes move, and that everything they know is in buffers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from napari_mrgen.engine.weights import WeightAverage
from napari_mrgen.families.vqvae.quantization import (
    Codebook,
    EmaCodebook,
    GradientCodebook,
    perplexity,
    used_share,
)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(count: int = 8, size: int = 4, n: int = 2, side: int = 16, seed: int = 0) -> Tensor:
    """Vectors round ``count`` centres, ``(n, size, side, side)``."""
    centres = torch.randn(count, size, generator=draws(99))
    chosen = torch.randint(count, (n, side, side), generator=draws(seed))
    noise = 0.02 * torch.randn(n, side, side, size, generator=draws(seed + 1))
    return (centres[chosen] + noise).movedim(-1, 1)


def trained(book: EmaCodebook, steps: int = 60) -> EmaCodebook:
    for step in range(steps):
        book(clusters(seed=step), draws(step))
    return book


@pytest.fixture(params=["ema", "ema, any length", "gradient"])
def book(request: pytest.FixtureRequest) -> Codebook:
    torch.manual_seed(0)
    if request.param == "gradient":
        return GradientCodebook(16, 4)
    return trained(EmaCodebook(16, 4, normalised=request.param == "ema"))


def test_each_vector_becomes_the_nearest_code(book: Codebook) -> None:
    vectors = clusters(seed=7)
    found = book(vectors)
    prepared = book.prepare(vectors).movedim(1, -1).reshape(-1, 4)
    nearest = torch.cdist(prepared, book.codes).argmin(1)
    assert torch.equal(found.indices.flatten(), nearest)
    torch.testing.assert_close(found.vectors, book.embed(found.indices))


def test_codes_become_themselves(book: Codebook) -> None:
    indices = torch.arange(16).view(1, 4, 4)
    vectors = book.embed(indices)
    torch.testing.assert_close(book(vectors).vectors, vectors)


def test_gradients_pass_as_if_nothing_were_done(book: Codebook) -> None:
    vectors = book.prepare(clusters()).requires_grad_()
    weights = torch.randn(vectors.shape, generator=draws())
    (book(vectors).vectors * weights).sum().backward()
    plain = vectors.detach().clone().requires_grad_()
    (book.prepare(plain) * weights).sum().backward()
    torch.testing.assert_close(vectors.grad, plain.grad)


def test_distances_are_taken_in_float32(book: Codebook) -> None:
    vectors = clusters(seed=3)
    with torch.autocast("cpu", torch.bfloat16):
        found = book(vectors)
    assert found.vectors.dtype == torch.float32
    assert torch.equal(found.indices, book(vectors).indices)


def test_looking_up_does_not_learn(book: Codebook) -> None:
    before = copy.deepcopy(book.state_dict())
    book(clusters(seed=5))
    for name, value in book.state_dict().items():
        assert torch.equal(value, before[name]), name


class TestEmaCodebook:
    def test_the_first_batch_fills_it(self):
        book = EmaCodebook(16, 4)
        book(clusters(), draws())
        assert (book.usage > 0).all()
        assert (book.codes.norm(dim=1) > 0).all()

    def test_codes_follow_the_means_of_what_they_stand_for(self):
        book = EmaCodebook(8, 4, decay=0.5, normalised=False)
        vectors = clusters(n=4)
        for step in range(40):
            indices = book(vectors, draws(step)).indices
        flat, assigned = vectors.movedim(1, -1).reshape(-1, 4), indices.flatten()
        used = assigned.unique()
        means = torch.stack([flat[assigned == code].mean(0) for code in used])
        torch.testing.assert_close(book.codes[used], means, atol=1e-3, rtol=0)

    def test_it_finds_the_clusters(self):
        book = trained(EmaCodebook(16, 4, normalised=False), 100)
        vectors = clusters(seed=50)
        assert (book(vectors).vectors - vectors).square().mean() < 2 * 0.02**2

    def test_dead_codes_are_drawn_anew(self):
        book = trained(EmaCodebook(16, 4))
        book.usage[3] = 0
        book(clusters(seed=5), draws())
        assert book.usage[3] > 0
        assert (book.usage > 0).all()

    def test_what_fits_badly_takes_the_place_of_the_dead(self):
        book = EmaCodebook(4, 2, normalised=False)
        book.usage.fill_(0.25)
        book.sums.copy_(0.25 * torch.tensor([[0.0, 0], [0, 0.1], [0.1, 0], [5, 5]]))
        book.usage[3] = 0
        vectors = torch.zeros(1, 2, 16, 16)
        vectors[0, :, 0, 0] = torch.tensor([3.0, -3.0])
        book(vectors, draws())
        torch.testing.assert_close(book.codes[3], torch.tensor([3.0, -3.0]))

    def test_few_vectors_are_enough(self):
        book = EmaCodebook(16, 4)
        book(clusters(n=1, side=2), draws())
        assert torch.isfinite(book.codes).all()

    def test_all_it_knows_is_in_its_state(self):
        one, other = trained(EmaCodebook(16, 4)), EmaCodebook(16, 4)
        other.load_state_dict(one.state_dict())
        for book in (one, other):
            book(clusters(seed=70), draws(70))
        assert torch.equal(one.codes, other.codes)

    def test_processes_that_average_buffers_agree_with_one(self):
        whole, half = EmaCodebook(8, 4), EmaCodebook(8, 4)
        trained(whole)
        half.load_state_dict(whole.state_dict())
        other = copy.deepcopy(half)
        vectors = clusters(n=4, seed=80)
        whole(vectors, draws())
        half(vectors[:2], draws())
        other(vectors[2:], draws())
        for left, right in zip(half.buffers(), other.buffers(), strict=True):
            left.copy_((left + right) / 2)
        torch.testing.assert_close(half.codes, whole.codes, atol=1e-5, rtol=1e-5)

    def test_the_average_has_the_newest_codes(self):
        book = EmaCodebook(16, 4)
        average = WeightAverage({"codebook": book, "encoder": torch.nn.Linear(2, 2)}, 0.99)
        for step in range(5):
            book(clusters(seed=step), draws(step))
            average.update(step + 1)
        kept = average.networks["codebook"]
        assert isinstance(kept, EmaCodebook)
        assert torch.equal(kept.codes, book.codes)


def test_unused_codes_stay_where_they_are_without_averages():
    torch.manual_seed(0)
    book = GradientCodebook(64, 4)
    found = book(clusters(), draws())
    found.loss.backward()
    unused = torch.tensor([code not in found.indices for code in range(64)])
    assert unused.any()
    assert book.weight.grad is not None
    assert not book.weight.grad[unused].any()
    assert book.usage.sum() == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_perplexity_counts_codes_that_are_used_evenly(count: int) -> None:
    usage = torch.zeros(10)
    usage[:count] = 0.2
    assert float(perplexity(usage)) == pytest.approx(count)
    assert float(used_share(usage)) == pytest.approx(count / 10)
