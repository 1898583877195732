"""A small classifier trained on the spot on a data set's own images, where no ready network knows such images."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sagan_jax.runtime.randomness import stream_key

WIDTHS = (32, 64, 64)  # of the convolutions, each at stride 2; the last is the number of features
STEPS, BATCH_SIZE, LEARNING_RATE = 400, 128, 2e-3
HELD_OUT = 5  # one image in so many is not trained on, and says how good the classifier is
MOST_IMAGES = 50_000  # that are looked at


class Classifier(nn.Module):
    """Features and logits of images of any size.

    Attributes:
      num_classes: number of logits.
    """

    num_classes: int

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Pixels 0..255 [B, H, W, 3] -> "features" [B, 64] and "logits" [B, num_classes]."""
        x = images.astype(jnp.float32) / 127.5 - 1
        for width in WIDTHS:
            x = nn.relu(nn.GroupNorm(8)(nn.Conv(width, (3, 3), 2)(x)))
        features = x.mean(axis=(1, 2))
        return {"features": features, "logits": nn.Dense(self.num_classes)(features)}


class TrainedClassifier(NamedTuple):
    """A classifier and how good it is.

    Attributes:
      variables: of `Classifier`.
      accuracy: fraction of right classes among real images that it was not trained on.
    """

    variables: Any
    accuracy: float


def train_classifier(images: np.ndarray, labels: np.ndarray, num_classes: int, seed: int) -> TrainedClassifier:
    """Trains for a fixed number of steps; the result follows from the arguments.

    Args:
      images: [N, H, W, 3] uint8, in random order.
      labels: [N] int32 in [0, num_classes).
      num_classes: at least 2.
      seed: of the initial weights and the order.
    """
    held_out = np.arange(len(images)) % HELD_OUT == 0
    train_images, train_labels = images[~held_out], labels[~held_out]
    classifier, optimizer = Classifier(num_classes), optax.adam(LEARNING_RATE)
    key = stream_key(seed, "classifier")
    variables = jax.jit(classifier.init)(key, images[:1])
    state = optimizer.init(variables)

    def loss(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = classifier.apply(variables, images)["logits"]  # type: ignore[call-overload]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def update(variables: Any, state: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(variables, images, labels), state)
        return optax.apply_updates(variables, updates), state

    random = np.random.default_rng(seed)
    for _ in range(STEPS):
        rows = random.integers(0, len(train_images), BATCH_SIZE)
        variables, state = update(variables, state, train_images[rows], train_labels[rows])
    logits = _in_pieces(functools.partial(jax.jit(classifier.apply), variables), images[held_out])
    return TrainedClassifier(jax.device_get(variables), float(np.mean(logits.argmax(axis=1) == labels[held_out])))


def _in_pieces(function: Any, images: np.ndarray) -> np.ndarray:
    pieces = np.array_split(images, -(-len(images) // BATCH_SIZE))
    return np.concatenate([np.asarray(function(piece)["logits"]) for piece in pieces])
