"""The order of images: a function of seed and position."""

import numpy as np

from sagan_jax.data.order import BalancedOrder, EpochOrder


def test_every_image_comes_once_per_epoch_in_another_order():
    epochs = EpochOrder(7, 10)(np.arange(30)).reshape(3, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert list(epochs[0]) != list(EpochOrder(8, 10)(np.arange(10)))
    order = EpochOrder(7, 10)
    np.testing.assert_array_equal(order(np.array([25, 3, 14])), epochs.ravel()[[25, 3, 14]])


def test_balanced_order_draws_every_class_alike_and_every_image_of_a_class_alike():
    labels = np.array([0] * 12 + [1] * 3 + [3] * 2)
    indices = BalancedOrder(0, labels)(np.arange(3 * 24))
    assert list(np.bincount(labels[indices])) == [24, 24, 0, 24]
    assert list(np.bincount(indices)) == [2] * 12 + [8] * 3 + [12] * 2
    rounds = labels[indices].reshape(24, 3)
    assert all(sorted(classes) == [0, 1, 3] for classes in rounds)
    assert len({tuple(classes) for classes in rounds}) > 3
    order = BalancedOrder(0, labels)
    np.testing.assert_array_equal(order(np.array([70, 1, 33])), indices[[70, 1, 33]])
    assert list(BalancedOrder(1, labels)(np.arange(72))) != list(indices)
