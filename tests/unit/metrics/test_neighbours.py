"""Precision, recall, density and coverage against their definitions, and nearest images."""

import tracemalloc

import numpy as np
import pytest
from tiny import normal

from sagan_jax.metrics import neighbours
from sagan_jax.metrics.kernel_distance import kernel_distance
from sagan_jax.metrics.neighbours import fidelity


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
