"""Moments of features: sums of batches in any grouping."""

import numpy as np
from tiny import normal

from sagan_jax.metrics.moments import merged, moments_of


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
