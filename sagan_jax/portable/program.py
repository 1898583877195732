"""The generator as a StableHLO program with its weights, for programs that have JAX but not this package."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from sagan_jax.sampling.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def generator_program(model: Model) -> bytes:
    """Exports the generator in float32 as bytes for `jax.export.deserialize`.

    The program's `call` takes latents [B, Z] float32 and labels [B] int32, for any B, and returns images [B, H, W, 3]
    float32 in [-1, 1], on CPUs, NVIDIA GPUs and TPUs.
    """
    generator = model.card.build_generator()

    def images(latents: jax.Array, labels: jax.Array) -> Any:
        return generator.apply(model.variables, latents, labels, train=False)

    (batch,) = export.symbolic_shape("batch")
    latents = jax.ShapeDtypeStruct((batch, model.card.latent_size), jnp.float32)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
    return bytes(export.export(jax.jit(images), platforms=PLATFORMS)(latents, labels).serialize())


def run_program(program: bytes, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Runs what `generator_program` made, as any other program would."""
    return np.asarray(export.deserialize(bytearray(program)).call(latents, labels))
