"""The Inception Score against its formula."""

import numpy as np
import pytest
from tiny import normal

from sagan_jax.metrics.inception_score import inception_score


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
