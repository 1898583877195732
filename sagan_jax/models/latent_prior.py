"""What a generator is given: latents and class labels."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class LatentPrior:
    """The distribution of the inputs of a generator.

    Attributes:
      latent_size: length of a latent, Z.
      num_classes: of the labels; 0 for an unconditional model.
      class_frequencies: fraction of each class, in label order; empty: all alike, as in the authors' code.
    """

    latent_size: int
    num_classes: int
    class_frequencies: tuple[float, ...] = ()

    def draw(
        self, batch_size: int, key: PRNGKeyArray
    ) -> tuple[Float[Array, "{batch_size} {self.latent_size}"], Int[Array, " {batch_size}"]]:
        """Latents [B, Z] ~ N(0, I) and labels [B] int32 (all 0 if there are no classes)."""
        latents_key, labels_key = jax.random.split(key)
        latents = jax.random.normal(latents_key, (batch_size, self.latent_size))
        classes = max(1, self.num_classes)
        if not self.class_frequencies:
            return latents, jax.random.randint(labels_key, (batch_size,), 0, classes)
        frequencies = jnp.asarray(self.class_frequencies)
        return latents, jax.random.choice(labels_key, classes, (batch_size,), p=frequencies).astype(jnp.int32)
