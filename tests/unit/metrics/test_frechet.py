"""The Frechet distance against closed forms."""

import numpy as np
import pytest
from tiny import normal

from sagan_jax.metrics.frechet import frechet_distance, frechet_distance_of_features, intra_class_distances
from sagan_jax.metrics.moments import Moments, moments_of


def gaussian(mean, covariance, count=2):
    return Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))


def test_frechet_distance_of_known_gaussians():
    # Commuting covariances: sum of (sqrt a - sqrt b)^2, turned by any rotation.
    rotation = np.linalg.qr(normal(0, 4, 4))[0]
    a, b = np.array([1.0, 4, 9, 0]), np.array([4.0, 4, 1, 2])
    first = gaussian([0, 0, 0, 0], rotation @ np.diag(a) @ rotation.T)
    second = gaussian([3, 0, 4, 0], rotation @ np.diag(b) @ rotation.T)
    expected = 25 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_covariances_that_do_not_commute():
    from scipy.linalg import sqrtm

    a, b = (np.cov(normal(seed, 5, 50)) for seed in (1, 2))
    expected = np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(gaussian(np.zeros(5), a), gaussian(np.zeros(5), b)) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_works_with_fewer_samples_than_dimensions():
    few = moments_of(normal(0, 10, 40))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(few, moments_of(normal(1, 10, 40))) > 1


def test_intra_class_distance_sees_what_the_pooled_one_does_not():
    real = np.concatenate([normal(0, 500, 3), normal(1, 500, 3) + 5])
    labels = np.repeat([0, 1], 500)
    same = intra_class_distances(real, labels, real, labels)
    swapped = intra_class_distances(real, labels, real, 1 - labels)
    assert set(same) == {0, 1}
    assert max(same.values()) < 1e-6
    assert min(swapped.values()) > 70
    assert list(intra_class_distances(real, labels, real[:501], labels[:501])) == [0]


@pytest.mark.parametrize(("n", "m"), [(7, 5), (5, 40), (60, 80)])
def test_frechet_distance_of_features_equals_that_of_the_moments(n, m):
    random = np.random.default_rng(n)
    x, y = random.normal(size=(n, 20)), random.normal(1, 2, size=(m, 20))
    assert frechet_distance_of_features(x, y) == pytest.approx(
        frechet_distance(moments_of(x), moments_of(y)), rel=1e-11
    )
