from __future__ import annotations

import torch

from napari_mrgen.engine.task import Draws
from napari_mrgen.families.cyclegan.pool import ImagePool

SHAPE = (1, 2, 2, 2)


def volumes(*values: float) -> torch.Tensor:
    return torch.stack([torch.full(SHAPE, value) for value in values])


def shown_by(pool: ImagePool, steps: range) -> torch.Tensor:
    """Hand on one image a step, which shows the step's number."""
    draws = Draws(("pool",))
    shown = [pool(volumes(s / 100), torch.rand(1, 2, generator=draws(s))) for s in steps]
    return torch.cat(shown)[:, 0, 0, 0, 0]


def test_until_it_is_full_it_hands_on_what_it_is_given() -> None:
    shown = shown_by(ImagePool(8, SHAPE), range(8))
    torch.testing.assert_close(shown, torch.arange(8) / 100)


def test_then_half_of_what_it_hands_on_is_older_and_nothing_comes_thrice() -> None:
    shown = shown_by(ImagePool(8, SHAPE), range(100)).mul(100).round().long()
    now = torch.arange(100)
    assert (shown <= now).all()
    assert 25 < int((shown < now).sum()) < 70
    counts = shown.bincount()
    # Those that filled the pool were handed on then, too.
    assert counts[:8].max() <= 2
    assert counts[8:].max() <= 1


def test_a_saved_pool_goes_on_as_if_it_had_not_stopped() -> None:
    whole = shown_by(ImagePool(4, SHAPE), range(20))
    stopped, resumed = ImagePool(4, SHAPE), ImagePool(4, SHAPE)
    first = shown_by(stopped, range(9))
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(torch.cat([first, shown_by(resumed, range(9, 20))]), whole)


def test_images_of_another_size_begin_a_new_pool() -> None:
    old, new = ImagePool(4, SHAPE), ImagePool(4, (1, 1, 1, 1))
    shown_by(old, range(6))
    new.load_state_dict(old.state_dict())
    assert int(new.count) == 0
    assert new.images.shape == (4, 1, 1, 1, 1)


def test_a_pool_of_none_hands_on_everything() -> None:
    batch = volumes(0.1, 0.2)
    assert ImagePool(0, SHAPE)(batch, torch.rand(2, 2)) is batch


def test_a_batch_is_handed_on_image_by_image() -> None:
    """So processes that join their parts of a batch have the pool of one that has it all."""
    batch, draws = torch.rand(9, *SHAPE), torch.rand(9, 2)
    whole, parts = ImagePool(3, SHAPE), ImagePool(3, SHAPE)
    shown = [parts(*each) for each in zip(batch.split(2), draws.split(2), strict=True)]
    assert torch.equal(torch.cat(shown), whole(batch, draws))
    assert torch.equal(parts.images, whole.images)
