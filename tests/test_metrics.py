"""Metrics against closed forms and direct textbook numpy."""

import tracemalloc

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sagan_jax.metrics import neighbours
from sagan_jax.metrics.frechet import frechet_distance, frechet_distance_of_features, intra_class_distances
from sagan_jax.metrics.inception_score import inception_score
from sagan_jax.metrics.kernel_distance import kernel_distance
from sagan_jax.metrics.label_accuracy import LinearClassifier, held_out_accuracy
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


def test_inception_score_of_sure_and_unsure_classifiers():
    sure = np.eye(5)[np.arange(500) % 5] * 50
    assert inception_score(sure).mean == pytest.approx(5, rel=1e-6)
    assert inception_score(np.zeros((500, 5))).mean == pytest.approx(1)
    one_class = np.tile([50.0, 0, 0, 0, 0], (500, 1))
    assert inception_score(one_class).mean == pytest.approx(1, abs=1e-6)


def test_inception_score_is_the_textbook_formula_per_split():
    logits = normal(0, 40, 6) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # 40 images in 7 parts: part i begins with image i * 40 // 7.
    parts = np.split(p, [5, 11, 17, 22, 28, 34])
    scores = [np.exp(np.mean(np.sum(q * np.log(q / q.mean(axis=0)), axis=1))) for q in parts]
    found = inception_score(logits, splits=7)
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
    density = (between < radius(real, density_k)[:, None]).sum(axis=0).mean() / density_k
    coverage = (between.min(axis=1) < radius(real, density_k)).mean()
    return precision, recall, density, coverage


@pytest.mark.parametrize("block", [1, 4, 30, 4096])
def test_neighbours_in_blocks_equal_the_dense_definition(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    real, fake = normal(0, 83, 4), normal(1, 61, 4) * 0.6 + 0.3
    np.testing.assert_allclose(fidelity(real, fake), dense_fidelity(real, fake, 3, 5), rtol=1e-6)


def test_copies_of_the_real_images_have_all_measures_1():
    real = np.float32(normal(0, 500, 64) * 3 + 100)
    assert fidelity(real, real.copy()) == (1, 1, 1, 1)


def test_distances_within_modes_that_are_far_apart():
    modes = np.repeat([[0.0] * 8, [8000.0] * 8], 50, axis=0) + normal(0, 100, 8) * 3
    exact = ((modes[:, None] - modes[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(neighbours.squared_radii(modes, (1, 5)), np.sort(exact, axis=1)[:, [1, 5]], rtol=1e-6)
    (_, _, found) = next(neighbours.squared_distances(np.concatenate([modes, modes]), modes))
    assert (np.diag(found) == 0).all()
    assert (np.diag(found[100:]) == 0).all()


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
def test_frechet_distance_of_features_equals_that_of_the_moments(n, m):
    random = np.random.default_rng(n)
    x, y = random.normal(size=(n, 20)), random.normal(1, 2, size=(m, 20))
    assert frechet_distance_of_features(x, y) == pytest.approx(
        frechet_distance(moments_of(x), moments_of(y)), rel=1e-11
    )


def test_linear_classifier_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    features = random.normal(size=(400, 5)) + random.normal(size=(3, 5))[labels]
    features[:, 4] *= 1e-3  # dimensions of other scales
    reference = LinearDiscriminantAnalysis(priors=np.full(3, 1 / 3)).fit(features, labels)
    queries = random.normal(size=(1000, 5)) * [1, 1, 1, 1, 1e-3]
    agree = LinearClassifier(features, labels).predict(queries) == reference.predict(queries)
    assert agree.mean() > 0.99  # but for the ridge
    classifier = LinearClassifier(features, labels)
    assert classifier.accuracy(features, (labels + 1) % 3) < 1 / 3 < classifier.accuracy(features, labels)
    half = LinearDiscriminantAnalysis(priors=np.full(3, 1 / 3)).fit(features[::2], labels[::2])
    assert held_out_accuracy(features, labels) == pytest.approx(half.score(features[1::2], labels[1::2]), abs=0.02)


def test_linear_classifier_works_with_fewer_features_than_dimensions_and_dead_ones():
    random = np.random.default_rng(0)
    labels = np.arange(12) % 2
    features = random.normal(size=(12, 50)) + 5 * labels[:, None]
    features[:, 7] = 0
    assert LinearClassifier(features[:6], labels[:6]).accuracy(features[6:], labels[6:]) == 1


def test_nearest_is_the_brute_force_search(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    random = np.random.default_rng(0)
    queries, features = random.normal(size=(9, 4)), random.normal(size=(30, 4))
    dense = np.linalg.norm(queries[:, None] - features[None], axis=-1)
    indices, distances = neighbours.nearest(queries, features, 3)
    np.testing.assert_array_equal(indices, np.argsort(dense, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(dense, axis=1)[:, :3], rtol=1e-4)
    assert neighbours.nearest(queries, features[:2], 3)[0].shape == (9, 2)


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_blocks(monkeypatch, tmp_path):
    """Not by the number of images: neither a row of all distances nor a copy of the features is made."""
    monkeypatch.setattr(neighbours, "BLOCK", 100)
    np.save(tmp_path / "features.npy", normal(0, 20_000, 32).astype(np.float32))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    fake = normal(1, 500, 32).astype(np.float32)
    assert peak_bytes(lambda: neighbours.nearest(fake[:8], mapped, 5)) < 400_000 < mapped.nbytes / 5
    assert peak_bytes(lambda: fidelity(mapped[:3000], fake, precision_k=3, density_k=5)) < 1_000_000 < 3000 * 500 * 4
    assert peak_bytes(lambda: kernel_distance(mapped[:2000], fake)) < 1_500_000 < 2000 * 500 * 8
