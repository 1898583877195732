"""Held-out images: apart from those that are trained on, the same every time, and never all."""

import numpy as np
import pytest
from sources import Stream

from sagan_jax.data.arrays import ArrayImages
from sagan_jax.data.holdout import hold_out
from sagan_jax.errors import InputError

LABELS = np.arange(50, dtype=np.int32) % 5
IMAGES = np.tile(np.arange(50, dtype=np.uint8)[:, None, None, None], (1, 4, 4, 3))
SOURCE = ArrayImages("numbers", IMAGES, LABELS, tuple("abcde"))


def numbers(part):
    images, labels = part.load(np.arange(len(part)))
    np.testing.assert_array_equal(labels, part.labels)
    np.testing.assert_array_equal(labels, LABELS[images[:, 0, 0, 0]])
    return set(images[:, 0, 0, 0].tolist())


def test_the_parts_have_each_image_once_and_are_the_same_every_time():
    training, held_out = hold_out(SOURCE, 20)
    assert (len(training), len(held_out)) == (30, 20)
    assert numbers(training) | numbers(held_out) == set(range(50))
    assert numbers(hold_out(SOURCE, 20).held_out) == numbers(held_out) != set(range(30, 50))
    assert training.class_names == held_out.class_names == SOURCE.class_names
    assert len({SOURCE.name, training.name, held_out.name}) == 3


def test_images_are_loaded_by_their_place_in_the_part():
    training, _ = hold_out(SOURCE, 20)
    images, labels = training.load(np.array([7, 7, 0]))
    every, all_labels = training.load(np.arange(30))
    np.testing.assert_array_equal(images, every[[7, 7, 0]])
    np.testing.assert_array_equal(labels, all_labels[[7, 7, 0]])


def test_by_default_nothing_is_held_out():
    assert hold_out(SOURCE, 0) == (SOURCE, None)


def test_all_images_cannot_be_held_out():
    with pytest.raises(InputError, match=r"data.holdout = 50 leaves none of the 50 images to train on: hold out fewer"):
        hold_out(SOURCE, 50)


def test_a_stream_cannot_be_split():
    with pytest.raises(InputError, match="data.holdout = 5 needs random access"):
        hold_out(Stream(), 5)
