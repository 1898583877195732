"""Data that lies on the devices is the data that would be streamed."""

import jax
import numpy as np
import pytest
from sources import Stream, data_config

from sagan_jax.data.digits import Digits
from sagan_jax.data.pipeline import Pipeline
from sagan_jax.data.residency import check_residency, open_feed, real_batch, stays_on_device
from sagan_jax.errors import InputError
from sagan_jax.runtime.sharding import make_mesh


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
