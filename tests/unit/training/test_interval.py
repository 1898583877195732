"""Means over an interval."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.training.interval import IntervalMeans

VALUES = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)


def metrics_of(step):
    return {"d_loss": jnp.asarray(VALUES[step, 0]), "g_loss": jnp.asarray(VALUES[step, 1])}


@pytest.mark.parametrize("stop", range(7))
def test_means_do_not_depend_on_where_a_run_was_stopped(stop):
    whole = IntervalMeans({})
    for step in range(6):
        whole.add(1, metrics_of(step))
    parts = IntervalMeans({})
    for step in range(6):
        if step == stop:
            parts = IntervalMeans(json.loads(json.dumps(parts.notes())))
        parts.add(1, metrics_of(step))
    assert whole.notes() == parts.notes()
    steps, sums = whole.sums()
    np.testing.assert_allclose([float(sums[k]) / steps for k in ("d_loss", "g_loss")], VALUES.mean(0), rtol=1e-6)


@pytest.mark.parametrize("notes", [{}, {"stop": True}, {"interval": {"steps": 3, "sums": {"d_loss": 5.0}}}])
def test_an_interval_begins_anew_where_a_checkpoint_has_no_sums_of_these_metrics(notes):
    means = IntervalMeans(notes)
    means.add(2, metrics_of(0))
    steps, sums = means.sums()
    assert steps == 2
    assert float(sums["g_loss"]) == 2 * VALUES[0, 1]
