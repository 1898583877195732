"""Metrics against closed forms and direct textbook numpy."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sagan_jax.metrics import neighbours
from sagan_jax.metrics.frechet import frechet_distance, frechet_distance_of_few, intra_class_distances
from sagan_jax.metrics.inception_score import inception_score
from sagan_jax.metrics.kernel_distance import kernel_distance, squared_mmd
from sagan_jax.metrics.label_accuracy import LinearClassifier, label_accuracy
from sagan_jax.metrics.moments import Moments, merged, moments_of
from sagan_jax.metrics.neighbours import fidelity


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def gaussian(mean, covariance, count=2):
    return Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))


def test_moments_are_those_of_numpy_in_any_grouping():
    features = normal(0, 1000, 6) * 3 + 100
    whole = moments_of(features)
    np.testing.assert_allclose(whole.mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance, np.cov(features.T), rtol=1e-9)
    for cuts in ([1], [1, 2, 500], [999]):
        parts = merged(moments_of(part) for part in np.split(features, cuts))
        assert parts.count == 1000
        np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-9)


def test_float32_features_lose_nothing_in_the_sums():
    features = (normal(0, 4000, 3) * 1e-2 + 1000).astype(np.float32)
    np.testing.assert_allclose(moments_of(features).covariance, np.cov(features.T.astype(np.float64)), rtol=1e-9)


def test_frechet_distance_of_known_gaussians():
    # Commuting covariances: sum of (sqrt a - sqrt b)^2, turned by any rotation.
    rotation = np.linalg.qr(normal(0, 4, 4))[0]
    a, b = np.array([1.0, 4, 9, 0]), np.array([4.0, 4, 1, 2])
    first = gaussian([0, 0, 0, 0], rotation @ np.diag(a) @ rotation.T)
    second = gaussian([3, 0, 4, 0], rotation @ np.diag(b) @ rotation.T)
    expected = 25 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-7)


def test_frechet_distance_of_covariances_that_do_not_commute():
    from scipy.linalg import sqrtm

    a, b = (np.cov(normal(seed, 5, 50)) for seed in (1, 2))
    expected = np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(gaussian(np.zeros(5), a), gaussian(np.zeros(5), b)) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_works_with_fewer_samples_than_dimensions():
    few = moments_of(normal(0, 10, 40))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
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


def test_squared_mmd_is_the_textbook_sum():
    x, y = normal(0, 7, 3), normal(1, 7, 3) + 0.5

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    def mean(values):
        return sum(values) / len(values)

    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    expected = mean([kernel(x[i], x[j]) for i, j in pairs]) + mean([kernel(y[i], y[j]) for i, j in pairs])
    expected -= 2 * mean([kernel(a, b) for a in x for b in y])
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_unbiased_and_says_how_sure_it_is():
    same = kernel_distance(normal(0, 2000, 8), normal(1, 2000, 8), subset_size=200)
    assert abs(same.mean) < 4 * same.standard_error
    other = kernel_distance(normal(0, 2000, 8), normal(1, 2000, 8) + 0.5, subset_size=200)
    assert other.mean > 20 * other.standard_error > 0
    assert kernel_distance(normal(0, 50, 8), normal(1, 60, 8)) == kernel_distance(normal(0, 50, 8), normal(1, 60, 8))


def test_inception_score_of_sure_and_unsure_classifiers():
    sure = np.eye(5)[np.arange(500) % 5] * 50
    assert inception_score(sure).mean == pytest.approx(5, rel=1e-6)
    assert inception_score(np.zeros((500, 5))).mean == pytest.approx(1)
    one_class = np.tile([50.0, 0, 0, 0, 0], (500, 1))
    assert inception_score(one_class).mean == pytest.approx(1, abs=1e-6)


def test_inception_score_is_the_textbook_formula_per_split():
    logits = normal(0, 40, 6) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = [np.exp(np.mean(np.sum(q * np.log(q / q.mean(axis=0)), axis=1))) for q in np.split(p, 4)]
    found = inception_score(logits, splits=4)
    assert found.mean == pytest.approx(np.mean(scores), rel=1e-10)
    assert found.std == pytest.approx(np.std(scores), rel=1e-8)


def dense_fidelity(real, fake, precision_k, density_k):
    """The definitions, written down without any regard for memory."""

    def distances(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))

    def radius(a, k):
        return np.sort(distances(a, a), axis=1)[:, k]  # the 0-th is itself

    between = distances(real, fake)
    precision = (between <= radius(real, precision_k)[:, None]).any(axis=0).mean()
    recall = (between <= radius(fake, precision_k)[None]).any(axis=1).mean()
    density = (between <= radius(real, density_k)[:, None]).sum(axis=0).mean() / density_k
    coverage = (between.min(axis=1) <= radius(real, density_k)).mean()
    return precision, recall, density, coverage


@pytest.mark.parametrize("block_numbers", [100, 3000, 50_000_000])
def test_neighbours_in_blocks_equal_the_dense_definition(monkeypatch, block_numbers):
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", block_numbers)
    real, fake = normal(0, 83, 4), normal(1, 61, 4) * 0.6 + 0.3
    np.testing.assert_allclose(fidelity(real, fake), dense_fidelity(real, fake, 3, 5), rtol=1e-6)


def test_fidelity_tells_dropped_modes_from_noise():
    real = np.concatenate([normal(0, 300, 4), normal(1, 300, 4) + 20])
    half = fidelity(real, normal(2, 600, 4))
    assert half.precision > 0.8
    assert half.recall < 0.55
    assert half.coverage < 0.55
    noisy = fidelity(real, np.concatenate([normal(3, 300, 4), normal(4, 300, 4) + 20]) + normal(5, 600, 4) * 3)
    assert noisy.precision < 0.6
    assert noisy.density < half.density


@pytest.mark.parametrize(("n", "m"), [(7, 5), (5, 40), (60, 80)])
def test_frechet_distance_of_few_equals_that_of_the_moments(n, m):
    random = np.random.default_rng(n)
    x, y = random.normal(size=(n, 20)), random.normal(1, 2, size=(m, 20))
    assert frechet_distance_of_few(x, y) == pytest.approx(frechet_distance(moments_of(x), moments_of(y)), rel=1e-6)


def test_linear_classifier_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    features = random.normal(size=(400, 5)) + random.normal(size=(3, 5))[labels]
    features[:, 4] *= 1e-3  # dimensions of other scales
    reference = LinearDiscriminantAnalysis(priors=np.full(3, 1 / 3)).fit(features, labels)
    queries = random.normal(size=(1000, 5)) * [1, 1, 1, 1, 1e-3]
    agree = LinearClassifier(features, labels).predict(queries) == reference.predict(queries)
    assert agree.mean() > 0.99  # but for the ridge
    assert (
        label_accuracy(features, labels, features, (labels + 1) % 3)
        < 1 / 3
        < label_accuracy(features, labels, features, labels)
    )


def test_linear_classifier_works_with_fewer_features_than_dimensions_and_dead_ones():
    random = np.random.default_rng(0)
    labels = np.arange(12) % 2
    features = random.normal(size=(12, 50)) + 5 * labels[:, None]
    features[:, 7] = 0
    assert label_accuracy(features[:6], labels[:6], features[6:], labels[6:]) == 1


def test_nearest_is_the_brute_force_search(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", 60)
    random = np.random.default_rng(0)
    queries, features = random.normal(size=(9, 4)), random.normal(size=(30, 4))
    dense = np.linalg.norm(queries[:, None] - features[None], axis=-1)
    indices, distances = neighbours.nearest(queries, features, 3)
    np.testing.assert_array_equal(indices, np.argsort(dense, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(dense, axis=1)[:, :3], rtol=1e-4)
