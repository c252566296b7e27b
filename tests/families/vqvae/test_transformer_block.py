import pytest
import torch

from napari_mrgen.families.vqvae.transformer import TransformerBlock


def block(dropped: float = 0.0) -> TransformerBlock:
    torch.manual_seed(0)
    return TransformerBlock(16, 4, dropped)


def vectors(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(seed))


def test_positions_are_a_set():
    layer, x = block(), vectors()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x)[:, order], layer(x[:, order]), atol=1e-5, rtol=1e-5)


def test_every_position_sees_every_other():
    layer, x = block(), vectors().requires_grad_()
    layer(x)[0, 3].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(1) > 0).all()
    assert not x.grad[1].any()


def test_what_is_dropped_follows_from_the_generator():
    layer, x = block(0.5), vectors()
    one, same, other = (layer(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(layer(x), layer(x))


def test_heads_must_share_the_width():
    with pytest.raises(ValueError, match="is not divisible by 5 heads"):
        TransformerBlock(16, 5)
