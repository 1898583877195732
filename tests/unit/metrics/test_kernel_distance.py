"""The kernel distance, its bias and its standard error."""

import numpy as np
import pytest
from tiny import normal

from sagan_jax.metrics.kernel_distance import kernel_distance


def textbook_squared_mmd(x, y):
    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    def mean(values):
        return sum(values) / len(values)

    within = sum(mean([kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]) for z in (x, y))
    return within - 2 * mean([kernel(a, b) for a in x for b in y])


@pytest.mark.parametrize(("n", "m"), [(2, 2), (7, 7), (7, 31), (45, 40)])
def test_kernel_distance_is_the_textbook_sum(n, m):
    x, y = normal(0, n, 3), normal(1, m, 3) + 0.5
    found = kernel_distance(x, y)
    assert found.value == pytest.approx(textbook_squared_mmd(x, y), abs=1e-12)
    assert (found.std_error is None) == (m < 40)  # too few for groups of two


@pytest.mark.parametrize(("shift", "m"), [(0, 120), (0, 300), (0.4, 120), (0.4, 300)])
def test_kernel_distance_is_unbiased_and_says_how_sure_it_is(shift, m):
    """Over repeated draws it moves as much as its standard error says; cubes of normal numbers are known moments."""
    found = [kernel_distance(normal(seed, 120, 4) + 1, normal(1000 + seed, m, 4) + 1 + shift) for seed in range(50)]
    values, errors = np.array(found).T
    assert 0.6 < values.std(ddof=1) / errors.mean() < 1.6
    # E (x.y / D + 1)^3 of independent x, y with means a, b and unit covariance.
    a, b = np.ones(4), np.full(4, 1.0 + shift)

    def mean_kernel(a, b):
        first, variance = a @ b / 4 + 1, (a @ a + b @ b + 4) / 16
        third = 6 * a @ b / 64
        return first**3 + 3 * first * variance + third

    expected = mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)
    assert abs(values.mean() - expected) < 4 * values.std(ddof=1) / np.sqrt(50)


def test_classes_that_take_turns_make_the_standard_error_no_larger():
    """As in samples balanced by class, of which groups of neighbours would each have half of the classes."""
    means = normal(7, 40, 4) * 3

    def error(order):
        x, y = (normal(seed, 400, 4) + means[np.arange(400) % 40] for seed in (0, 1))
        return kernel_distance(x[order], y[order]).std_error

    shuffled = [error(np.random.default_rng(seed).permutation(400)) for seed in range(3)]
    assert 0.6 < error(np.arange(400)) / np.mean(shuffled) < 1.6
