import torch

from napari_mrgen.nn.noise import dropout, randn_like


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_follow_from_the_generator_alone():
    before = torch.random.get_rng_state()
    a, b = (randn_like(torch.zeros(50), seeded()) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, randn_like(torch.zeros(50), seeded(1)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_dropout_keeps_the_mean():
    dropped = dropout(torch.ones(100_000), 0.3, seeded())
    assert abs(float(dropped.mean()) - 1) < 0.01
    assert abs(float((dropped == 0).float().mean()) - 0.3) < 0.01


def test_without_a_generator_nothing_drops_out():
    x = torch.ones(10)
    assert dropout(x, 0.5, None) is x
