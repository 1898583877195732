"""Metrics of the attention layers of a run."""

import json

import numpy as np
import pytest
from tiny import tiny_config

from sagan_jax.reporting.curves import panels
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.loop import train_and_evaluate
from sagan_jax.training.trained import open_trained


def test_attention_of_both_networks_is_among_the_metrics(tmp_path):
    config = tiny_config()
    config.train.steps, config.log.pictures_every_steps = 2, 2
    train_and_evaluate(config, str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = {name: value for row in rows for name, value in row.items() if "entropy" in name or "distance" in name}
    assert found.keys() == {"g_entropy_8", "g_distance_8", "d_entropy_8", "d_distance_8"}
    model = open_trained(str(tmp_path), "newest", make_mesh(), with_discriminator=True)
    sheet = model.sampler.fixed_latents(2, stream_key(config.seed, "sheet"))[:1]
    latents, labels = np.repeat(sheet, 4, axis=0), np.arange(4)  # the first column of the sheet
    images, maps = model.sampler.attention(model.variables, latents, labels)
    for name, weights in (("g_entropy_8", maps), ("d_entropy_8", model.discriminate(images, labels)[1])):
        weights = weights["attention_8"]
        assert found[name] == pytest.approx(-np.mean(np.sum(weights * np.log(weights), axis=-1)), abs=1e-4)
    assert [title for title, _ in panels(rows) if "attention" in title] == [
        "attention gammas",
        "entropy of attention, nats",
        "mean distance of attention, pixels",
    ]
