"""Batches: a function of seed and step, alike in any number of processes."""

import numpy as np
import pytest
from sources import Stream, data_config

from sagan_jax.data.digits import Digits
from sagan_jax.data.pipeline import Pipeline, resolve_num_classes
from sagan_jax.data.residency import load_all
from sagan_jax.data.source import class_counts, class_frequencies
from sagan_jax.errors import InputError


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


def pipeline(source, **changes):
    return Pipeline(data_config(**changes), source)


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


def test_number_of_classes_must_fit_the_data():
    assert resolve_num_classes(data_config(num_classes=-1), Digits(16)) == 10
    assert resolve_num_classes(data_config(num_classes=0), Digits(16)) == 0
    with pytest.raises(InputError, match="model.num_classes = 5, but digits has 10 classes"):
        resolve_num_classes(data_config(num_classes=5), Digits(16))
