"""What the consistency penalties change about images: mirrors half, moves all, and leaves the rest."""

import jax
import numpy as np

from sagan_jax.objectives.consistency import mirrored_and_moved


def test_images_are_mirrored_or_not_and_moved_by_up_to_an_eighth():
    images = jax.random.uniform(jax.random.key(0), (60, 16, 16, 3), minval=0.5)
    found = np.asarray(mirrored_and_moved(images, jax.random.split(jax.random.key(1), 60)))
    mirrored = 0
    for before, after in zip(np.asarray(images), found, strict=True):
        rows, columns = (np.flatnonzero(after.any(axis=(1 - axis, 2))) for axis in (0, 1))
        assert min(len(rows), len(columns)) >= 14
        matches = []
        for candidate in (before, before[:, ::-1]):
            moved = np.zeros((20, 20, 3), np.float32)
            moved[2:18, 2:18] = candidate
            windows = [moved[i : i + 16, j : j + 16] for i in range(5) for j in range(5)]
            matches.append(any(np.array_equal(window, after) for window in windows))
        assert sum(matches) == 1
        mirrored += matches[1]
    assert 18 <= mirrored <= 42
