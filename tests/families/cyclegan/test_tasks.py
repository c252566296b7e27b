from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.nn import functional

from napari_mrgen.data.heads.patches import pad_to_shape
from napari_mrgen.engine.task import Batch, Draws
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import PUBLISHED, TINY, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import build_discriminators, build_translators
from napari_mrgen.families.cyclegan.tasks import (
    CycleTask,
    ImagePool,
    TrainingSamples,
    augmented,
    paired_loss,
)

CUBE = (16, 16, 16)
FULL = TINY.with_values({"full_every": 1, "identity_every": 2, "pool": 2})
SMALL_PUBLISHED = PUBLISHED.with_values(
    {"width": 4, "discriminator_width": 4, "patch": 16, "pool": 2}
)


@pytest.fixture(autouse=True)
def few_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def task_of(
    config: CycleGanConfig, *, seed: int = 0, has_pairs: bool = True, shape: tuple = CUBE
) -> CycleTask:
    torch.manual_seed(seed)
    built = {**build_translators(config), **build_discriminators(config)}
    return CycleTask(config, built, TrainingSamples(shape, has_pairs=has_pairs))


def batch_of(seed: int = 0, count: int = 1, shape: tuple = CUBE, paired: float = 1.0) -> Batch:
    """Return smooth noise, and the same with its contrast turned round."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 1, *(side // 4 + 1 for side in shape), generator=generator)
    t1 = functional.interpolate(noise, size=shape, mode="trilinear")
    t2 = (1 - t1).square()
    return {"t1": t1, "t2": t2, "mask": torch.ones_like(t1), "paired": torch.full((count,), paired)}


def train(task: CycleTask, steps: range) -> list[dict[str, float]]:
    draws = Draws(("test",))
    return [
        {k: float(v) for k, v in task.step(batch_of(step), step, Draws((*draws.key, step))).items()}
        for step in steps
    ]


@pytest.mark.parametrize("config", [FULL, SMALL_PUBLISHED], ids=["residual", "published"])
def test_some_steps_lower_the_paired_loss(config: CycleGanConfig) -> None:
    config = config.with_values({"learning_rate": 5e-3, "augmentation": 0, "steps": 40})
    losses = train(task_of(config), range(25))
    assert losses[0].keys() == {"pairs", "cycle", "adversarial", "identity", "discriminators"}
    first, last = (sum(loss["pairs"] for loss in part) for part in (losses[:5], losses[-5:]))
    assert last < 0.7 * first


@pytest.mark.parametrize("config", [FULL, SMALL_PUBLISHED], ids=["residual", "published"])
def test_a_stop_and_a_resume_change_nothing(config: CycleGanConfig) -> None:
    whole = task_of(config)
    train(whole, range(7))
    stopped, resumed = task_of(config), task_of(config, seed=1)
    train(stopped, range(4))
    for name, network in stopped.networks.items():
        resumed.networks[name].load_state_dict(copy.deepcopy(network.state_dict()))
    for name, optimizer in stopped.optimizers.items():
        resumed.optimizers[name].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(resumed, range(4, 7))
    for name, network in whole.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, resumed.networks[name].state_dict()[key]), (name, key)


def test_no_step_draws_from_the_global_generator() -> None:
    task = task_of(FULL)
    before = torch.random.get_rng_state()
    train(task, range(4))
    assert torch.equal(before, torch.random.get_rng_state())


def test_processes_call_their_pools_together() -> None:
    task, called = task_of(FULL), []

    def together(function: Callable[..., torch.Tensor], *parts: torch.Tensor) -> torch.Tensor:
        called.append(function)
        return function(*parts)

    task.together = together
    train(task, range(2))
    assert called == 2 * [task.networks[name] for name in ("pool_t2", "pool_t1")]


def test_without_pairs_nothing_tells_which_volumes_belong_together() -> None:
    task = task_of(TINY, has_pairs=False)
    batch = {name: batch_of(seed)[name] for seed, name in enumerate(("t1", "t2"))}
    losses = task.step(batch, 1, Draws(("test",)))
    assert "pairs" not in losses
    assert losses.keys() >= {"cycle", "adversarial", "discriminators"}


def test_a_weight_of_nothing_learns_without_pairs() -> None:
    task = task_of(TINY.with_values({"paired_weight": 0}))
    assert "pairs" not in train(task, range(1))[0]


def test_without_pairs_and_discriminators_there_is_nothing_to_learn() -> None:
    with pytest.raises(MrgenError, match="nothing to learn from"):
        task_of(TINY.with_values({"adversarial_weight": 0}), has_pairs=False)


def test_samples_that_are_no_pairs_do_not_count() -> None:
    one, other = batch_of(0), batch_of(1, paired=0.0)
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    alone = paired_loss(one["t1"], one["t2"], one, TINY)
    torch.testing.assert_close(paired_loss(both["t1"], both["t2"], both, TINY), alone)
    assert float(paired_loss(other["t1"], other["t2"], other, TINY)) == 0


def test_the_brain_counts_more_than_what_is_around_it() -> None:
    batch = dict(batch_of())
    batch["mask"] = torch.zeros_like(batch["t1"])
    batch["mask"][..., :8] = 1
    wrong = batch["t2"].clone()
    wrong[..., :8] += 0.2
    around = batch["t2"].clone()
    around[..., 8:] += 0.2
    config = TINY.with_values({"ssim_weight": 0})
    inside, outside = (float(paired_loss(f, batch["t2"], batch, config)) for f in (wrong, around))
    assert inside == pytest.approx(10 * outside, rel=0.01)


def test_steps_between_full_ones_learn_from_pairs_alone() -> None:
    task = task_of(TINY.with_values({"full_every": 3, "identity_weight": 0}))
    weights = copy.deepcopy(task.networks["discriminator_t2"].state_dict())
    names = [losses.keys() for losses in train(task, range(4))]
    assert names[1] == names[2] == {"pairs"}
    assert names[0] == names[3] == {"pairs", "cycle", "adversarial", "discriminators"}
    after = task.networks["discriminator_t2"].state_dict()
    assert any(not torch.equal(weights[key], after[key]) for key in weights)


def evaluated(task: CycleTask, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        return dict(task.evaluate(task.networks, batch))


@pytest.mark.parametrize("direction", ["t1 to t2", "t2 to t1"])
def test_one_direction_trains_without_the_other(direction: str) -> None:
    task = task_of(FULL.with_values({"direction": direction}))
    losses = train(task, range(2))
    assert "cycle" not in losses[0]
    assert task.shipped == (direction.replace(" ", "_"),)
    assert evaluated(task, batch_of()).keys() == {
        f"{direction[:2].upper()}w to {direction[-2:].upper()}w: {metric}"
        for metric in ("PSNR", "SSIM")
    }


def test_odd_shapes_train_through_padding() -> None:
    odd, shape = batch_of(shape=(17, 22, 19)), (20, 24, 20)
    legal = {
        name: pad_to_shape(value, shape) if value.ndim == 5 else value
        for name, value in odd.items()
    }
    assert all(side % TINY.legal == 0 for side in shape)
    for batch, of in ((legal, shape), (odd, (17, 22, 19))):
        losses = task_of(FULL, shape=of).step(batch, 0, Draws(("test",)))
        assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_batch_of_several_trains_and_is_evaluated() -> None:
    task, batch = task_of(FULL), batch_of(count=3)
    for step in range(3):
        task.step(batch, step, Draws((step,)))
    metrics = evaluated(task, batch)
    assert len(metrics) == 6
    unpaired = evaluated(task, batch_of(paired=0.0))
    assert len(unpaired) == 2
    assert all(torch.isfinite(torch.tensor(value)) for value in metrics.values())


def test_a_head_of_one_contrast_has_no_figures_of_the_other() -> None:
    task, batch = task_of(FULL), batch_of(paired=0.0)
    batch["t2"] = torch.zeros_like(batch["t2"])
    assert evaluated(task, batch).keys() == {"T1w after both: error"}


def test_steps_on_single_scans_are_full_ones() -> None:
    """Of pairs and single scans together: between full steps pairs teach by themselves."""
    config = FULL.with_values({"full_every": 4})
    built = {**build_translators(config), **build_discriminators(config)}
    task = CycleTask(config, built, TrainingSamples(CUBE, has_pairs=True, has_singles=True))
    pairs, singles = (task.step(batch_of(paired=p), 1, Draws(("test",))) for p in (1.0, 0.0))
    assert pairs.keys() == {"pairs"}
    assert singles.keys() == {"pairs", "cycle", "adversarial", "discriminators"}


def test_varying_keeps_the_background_and_follows_from_the_generator() -> None:
    volume = batch_of(count=2)["t1"].clone()
    volume[..., :4] = 0
    one, two = (augmented(volume, torch.Generator().manual_seed(3), 1.0) for _ in range(2))
    assert torch.equal(one, two)
    assert (one[..., :4] == 0).all()
    assert 0.005 < float((one - volume).abs().mean()) < 0.3
    assert not torch.allclose(one[0], one[1])
    assert augmented(volume, torch.Generator(), 0.0) is volume


# ---- the image pool ------------------------------------------------------------------------------

IMAGE = (1, 2, 2, 2)


def images_of(*values: float) -> torch.Tensor:
    return torch.stack([torch.full(IMAGE, value) for value in values])


def shown_by(pool: ImagePool, steps: range) -> torch.Tensor:
    """Hand on one image a step, which shows the step's number."""
    draws = Draws(("pool",))
    shown = [pool(images_of(s / 100), torch.rand(1, 2, generator=draws(s))) for s in steps]
    return torch.cat(shown)[:, 0, 0, 0, 0]


def test_until_it_is_full_it_hands_on_what_it_is_given() -> None:
    shown = shown_by(ImagePool(8, IMAGE), range(8))
    torch.testing.assert_close(shown, torch.arange(8) / 100)


def test_then_half_of_what_it_hands_on_is_older_and_nothing_comes_thrice() -> None:
    shown = shown_by(ImagePool(8, IMAGE), range(100)).mul(100).round().long()
    now = torch.arange(100)
    assert (shown <= now).all()
    assert 25 < int((shown < now).sum()) < 70
    counts = shown.bincount()
    # Those that filled the pool were handed on then, too.
    assert counts[:8].max() <= 2
    assert counts[8:].max() <= 1


def test_a_saved_pool_goes_on_as_if_it_had_not_stopped() -> None:
    whole = shown_by(ImagePool(4, IMAGE), range(20))
    stopped, resumed = ImagePool(4, IMAGE), ImagePool(4, IMAGE)
    first = shown_by(stopped, range(9))
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(torch.cat([first, shown_by(resumed, range(9, 20))]), whole)


def test_images_of_another_size_begin_a_new_pool() -> None:
    old, new = ImagePool(4, IMAGE), ImagePool(4, (1, 1, 1, 1))
    shown_by(old, range(6))
    new.load_state_dict(old.state_dict())
    assert int(new.count) == 0
    assert new.images.shape == (4, 1, 1, 1, 1)


def test_a_pool_of_none_hands_on_everything() -> None:
    batch = images_of(0.1, 0.2)
    assert ImagePool(0, IMAGE)(batch, torch.rand(2, 2)) is batch


def test_a_batch_is_handed_on_image_by_image() -> None:
    """So processes that join their parts of a batch have the pool of one that has it all."""
    batch, draws = torch.rand(9, *IMAGE), torch.rand(9, 2)
    whole, parts = ImagePool(3, IMAGE), ImagePool(3, IMAGE)
    shown = [parts(*each) for each in zip(batch.split(2), draws.split(2), strict=True)]
    assert torch.equal(torch.cat(shown), whole(batch, draws))
    assert torch.equal(parts.images, whole.images)
