"""The linear classifier behind label accuracy."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sagan_jax.metrics.label_accuracy import LinearClassifier, held_out_accuracy


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
