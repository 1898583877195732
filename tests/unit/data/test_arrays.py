"""Arrays as a source."""

import numpy as np

from sagan_jax.data import ArrayImages, check_source


def test_arrays_are_a_source_with_and_without_classes():
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    unlabelled, labelled = ArrayImages("a", images), ArrayImages("b", images, np.arange(6, dtype=np.int32) % 2, "xy")
    for source in (unlabelled, labelled):
        check_source(source, 16)
    assert unlabelled.class_names == ("all",)
    assert unlabelled.load(np.array([5, 0]))[1].tolist() == [0, 0]
    assert labelled.load(np.array([5, 0]))[1].tolist() == [1, 0]
    assert unlabelled.content_hash() != labelled.content_hash()
