"""Order, batches, residency and what happens to pixels on the device."""

import jax
import numpy as np
import pytest
from conftest import tiny_config

from sagan_jax.data.batch import random_flip, to_signed_float, to_uint8
from sagan_jax.data.digits import Digits
from sagan_jax.data.order import BalancedOrder, EpochOrder
from sagan_jax.data.pipeline import Pipeline, resolve_num_classes
from sagan_jax.data.residency import check_residency, load_all, open_feed, real_batch, stays_on_device
from sagan_jax.data.source import class_counts, class_frequencies
from sagan_jax.errors import InputError
from sagan_jax.runtime.sharding import make_mesh


class Numbered:
    """Ten one-pixel images whose value and label are their index."""

    name = "numbered"
    class_names = tuple("abcdefghij")
    labels = np.arange(10, dtype=np.int32)

    def __len__(self):
        return len(self.labels)

    def load(self, indices):
        pixels = np.asarray(indices, np.uint8)[:, None, None, None]
        return np.tile(pixels, (1, 1, 1, 3)), self.labels[indices]

    def content_hash(self):
        return "numbered"


class Stream:
    """A source that can only be read in order."""

    name = "stream"
    class_names = ("a", "b")

    def __len__(self):
        return 4

    def read(self, seed, first_image, threads, ahead):
        position = first_image
        while True:
            yield np.full((1, 1, 3), position, np.uint8), position % 2
            position += 1


def data_config(updates=2, batch_size=4, num_classes=10, **data):
    config = tiny_config()
    config.train.update(discriminator_updates=updates, batch_size=batch_size)
    config.data.update(data)
    config.model.num_classes = num_classes
    return config


def pipeline(source, **changes):
    return Pipeline(data_config(**changes), source)


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


@pytest.mark.parametrize("sampling", ["empirical", "uniform"])
def test_batches_are_a_function_of_seed_and_step(sampling):
    def fresh():
        return pipeline(Numbered(), real_class_sampling=sampling)

    run = list(fresh().batches(0, 5))
    resumed = list(fresh().batches(3, 5))
    indices = list(fresh().index_batches(0, 5))
    for step, batch in enumerate(run):
        np.testing.assert_array_equal(batch.labels, fresh().batch_for_step(step).labels)
        np.testing.assert_array_equal(batch.labels, indices[step])
    np.testing.assert_array_equal(resumed[0].images, run[3].images)
    assert run[0].images.shape == (2, 4, 1, 1, 3)
    assert run[0].images.dtype == np.uint8
    # 5 steps of 8 are 4 epochs of 10, across the borders of steps.
    seen = np.concatenate([batch.labels.ravel() for batch in run])
    assert (np.bincount(seen) == 4).all()


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("sampling", ["empirical", "uniform"])
def test_processes_read_their_own_slice_of_the_same_batch(monkeypatch, count, sampling):
    options = {"batch_size": 48, "real_class_sampling": sampling}
    whole = next(pipeline(Numbered(), **options).batches(1, 2))
    parts, indices = [], []
    for index in range(count):
        monkeypatch.setattr("jax.process_count", lambda: count)
        monkeypatch.setattr("jax.process_index", lambda index=index: index)
        parts.append(next(pipeline(Numbered(), **options).batches(1, 2)))
        indices.append(next(pipeline(Numbered(), **options).index_batches(1, 2)))
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts], axis=1), whole.images)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts], axis=1), whole.labels)
    np.testing.assert_array_equal(np.concatenate(indices, axis=1), whole.labels)


def test_labels_are_dropped_for_an_unconditional_model():
    assert (pipeline(Numbered(), num_classes=0).batch_for_step(0).labels == 0).all()


@pytest.mark.parametrize("read", [lambda p: p.batch_for_step(0), lambda p: next(p.batches(0, 3))])
def test_label_out_of_range_is_refused(read):
    source = Numbered()
    source.class_names = ("a", "b")
    with pytest.raises(InputError, match="numbered has the label .* out of range: with 2 classes"):
        read(pipeline(source))
    with pytest.raises(InputError, match="numbered has the label .* out of range: with 2 classes"):
        load_all(source, 1, 2)


def test_streams_are_cut_into_steps_and_resumed():
    steps = list(pipeline(Stream(), num_classes=2).batches(2, 5))
    assert [batch.images[..., 0].ravel().tolist() for batch in steps] == [list(range(n, n + 8)) for n in (16, 24, 32)]
    assert steps[0].labels.tolist() == [[0, 1, 0, 1]] * 2


def test_resident_images_make_the_batches_that_would_be_streamed():
    mesh, digits = make_mesh(), Digits(16)
    configs = [data_config(batch_size=16, residency=residency) for residency in ("device", "host")]
    resident, streamed = (open_feed(config, Pipeline(config, digits), mesh) for config in configs)
    assert resident.resident.images.shape == (1797, 768)
    assert resident.resident.images.dtype == np.uint8
    assert streamed.resident is None
    make = jax.jit(real_batch, static_argnums=2)
    for step, (indices, batch) in enumerate(zip(resident.inputs(5, 8), streamed.inputs(5, 8), strict=True)):
        assert indices.dtype == np.int32, step
        jax.tree.map(np.testing.assert_array_equal, make(resident.resident, indices, 16), make(None, batch, 16))


def test_residency_depends_on_size_and_access():
    digits, size = Digits(16), 1797 * 16 * 16 * 3
    small, large = (data_config(resident_gib=gib / 2**30) for gib in (size, size - 1))
    assert stays_on_device(small, digits)
    assert not stays_on_device(large, digits)
    large.data.residency = "device"
    assert stays_on_device(large, digits)
    small.data.residency = "host"
    assert not stays_on_device(small, digits)
    assert not stays_on_device(data_config(), Stream())
    with pytest.raises(InputError, match="data.residency = 'device' needs random access .* stream lacks"):
        check_residency(data_config(residency="device"), Stream())


def test_class_frequencies_follow_the_data_if_asked_to():
    source = Numbered()
    source.labels = np.array([0] * 6 + [1] * 3 + [3], np.int32)
    source.class_names = tuple("abcd")
    assert list(class_counts(source)) == [6, 3, 0, 1]
    assert class_frequencies(data_config(num_classes=4), source) == ()
    assert class_frequencies(data_config(num_classes=4, class_sampling="empirical"), source) == (0.6, 0.3, 0, 0.1)
    assert class_frequencies(data_config(num_classes=0, class_sampling="empirical"), source) == ()
    source.labels = None
    for field, use in (
        ("class_sampling = 'empirical'", lambda: class_frequencies(data_config(class_sampling="empirical"), source)),
        ("real_class_sampling = 'uniform'", lambda: pipeline(source, real_class_sampling="uniform")),
        ("real_class_sampling = 'uniform'", lambda: pipeline(Stream(), real_class_sampling="uniform")),
    ):
        with pytest.raises(InputError, match=f"data.{field} needs .* prepare"):
            use()


def test_digits_are_the_real_ones():
    digits = Digits(16)
    assert len(digits) == 1797
    (image,), (label,) = digits.load(np.array([0]))
    assert (image.shape, image.dtype, label) == ((16, 16, 3), np.uint8, 0)
    assert (image[..., 0] == image[..., 1]).all()
    assert np.bincount(digits.labels).min() > 150


def test_number_of_classes_must_fit_the_data():
    assert resolve_num_classes(data_config(num_classes=-1), Digits(16)) == 10
    assert resolve_num_classes(data_config(num_classes=0), Digits(16)) == 0
    with pytest.raises(InputError, match="model.num_classes = 5, but digits has 10 classes"):
        resolve_num_classes(data_config(num_classes=5), Digits(16))


def test_float_conversion_round_trips_every_value():
    values = np.arange(256, dtype=np.uint8)
    signed = to_signed_float(values)
    assert (signed.min(), signed.max()) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(signed), values)


def test_flip_mirrors_about_half_of_the_images():
    images = np.broadcast_to(np.arange(4.0)[None, None, :, None], (400, 1, 4, 1))
    flipped = np.asarray(random_flip(images, jax.random.key(0)))
    mirrored = flipped[:, 0, 0, 0] == 3
    assert 150 < mirrored.sum() < 250
    np.testing.assert_array_equal(flipped[mirrored][0, 0, :, 0], [3, 2, 1, 0])
    np.testing.assert_array_equal(flipped[~mirrored][0, 0, :, 0], [0, 1, 2, 3])
