import math

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from napari_mrgen.metrics.distributions import (
    Points,
    coverage,
    density,
    frechet,
    kid,
    kid_interval,
    precision,
    recall,
)


def normal(count, seed=0, dimensions=8):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def people(count, seed, slices=6):
    """Points that lie close together for each of some people."""
    centres = normal(count, seed).repeat_interleave(slices, 0)
    names = tuple(f"{seed}-{i // slices}" for i in range(count * slices))
    return Points(centres + 0.1 * normal(count * slices, seed + 1000), names)


def exactly(mean, root):
    """Points whose own mean and covariance are exactly ``mean`` and ``root @ root.T``."""
    points = normal(500, 3, len(mean)).double()
    centred = points - points.mean(0)
    factor = torch.linalg.cholesky((centred.T @ centred / (len(points) - 1)).inverse())
    return centred @ factor @ root.T.double() + mean.double()


MEASURES = (kid, precision, recall, density, coverage)


@pytest.mark.parametrize("measure", MEASURES)
def test_order_does_not_matter(measure):
    a, b = people(8, 0), people(8, 1)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(1))
    shuffled = Points(a.values[order], tuple(a.subjects[i] for i in order))
    assert measure(shuffled, b) == pytest.approx(measure(a, b), rel=1e-5, abs=1e-9)


def test_kid_agrees_with_torchmetrics():
    a, b = normal(60), normal(60, 1) + 0.3
    assert kid(Points(a), Points(b)) == pytest.approx(float(poly_mmd(a, b)), rel=1e-4)


def test_kid_of_two_halves_is_about_zero():
    a, b = Points(normal(400)), Points(normal(400, 1))
    low, high = kid_interval(a, b)
    assert abs(kid(a, b)) < 0.02
    assert low < 0 < high
    assert kid_interval(a, Points(b.values + 0.5))[0] > 0


def test_kid_of_a_set_with_itself_is_zero():
    a = people(6, 0)
    assert kid(a, a) == pytest.approx(0, abs=1e-9)
    assert kid_interval(a, a) == pytest.approx((0, 0), abs=1e-9)


def test_slices_of_one_person_are_not_taken_for_independent():
    pairs = [(people(8, seed), people(8, seed + 500)) for seed in range(60)]
    by_person = torch.tensor([kid(a, b) for a, b in pairs])
    by_slice = torch.tensor([kid(Points(a.values), Points(b.values)) for a, b in pairs])
    error = float(by_person.std()) / math.sqrt(len(pairs))
    assert abs(float(by_person.mean())) < 3 * error
    assert float(by_slice.mean()) > 5 * error


def test_the_interval_is_as_wide_as_new_people_make_it():
    found = torch.tensor([kid(people(12, s), people(12, s + 500)) for s in range(80)])
    low, high = kid_interval(people(12, 0), people(12, 500))
    assert 0.5 < (high - low) / (3.9 * float(found.std())) < 2


def test_frechet_of_gaussians_in_closed_form():
    mean = torch.tensor([1.0, -2.0, 0.5])
    one, other = (
        torch.diag(torch.tensor([1.0, 2.0, 3.0])),
        torch.diag(torch.tensor([2.0, 2.0, 0.5])),
    )
    expected = float(mean.square().sum() + (one - other).diagonal().square().sum())
    assert frechet(exactly(mean, one), exactly(0 * mean, other)) == pytest.approx(expected)
    turn = torch.linalg.qr(normal(3, 5, 3)).Q
    turned = [exactly(m, turn @ root) for m, root in ((mean, one), (0 * mean, other))]
    assert frechet(*turned) == pytest.approx(expected, rel=1e-5)


def test_what_lies_apart_is_neither_precise_nor_covered():
    a, b = Points(normal(50)), Points(normal(50, 1) + 100)
    assert [measure(a, b) for measure in MEASURES[1:]] == [0, 0, 0, 0]


def test_a_set_covers_its_copy():
    a = normal(50)
    made, real = Points(a.clone()), Points(a)
    assert precision(made, real) == recall(made, real) == coverage(made, real) == 1


def test_the_same_distribution_has_a_density_of_one():
    found = [density(Points(normal(300, s)), Points(normal(300, s + 50))) for s in range(5)]
    assert sum(found) / 5 == pytest.approx(1, abs=0.1)


def test_one_person_is_no_distribution():
    alone = people(1, 0)
    assert all(math.isnan(measure(people(5, 1), alone)) for measure in (kid, precision, coverage))
    assert math.isnan(kid_interval(people(5, 1), alone)[0])
