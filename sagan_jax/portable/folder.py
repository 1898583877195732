"""Writes and reads exported models: a card, weights that are ready to use, and a program that needs only JAX."""

import dataclasses
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath
from jax.sharding import Mesh
from safetensors import SafetensorError

from sagan_jax.errors import InputError
from sagan_jax.models.generator import IMAGE_CHANNELS, Generator
from sagan_jax.portable.program import generator_program
from sagan_jax.runtime.documents import read_bytes
from sagan_jax.runtime.storage import write_atomic
from sagan_jax.runtime.user_paths import user_path
from sagan_jax.sampling.card import Card, card_from_json, card_to_json
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.sampler import Tree

CARD, PROGRAM = "model.json", "generator.stablehlo"
GENERATOR, DISCRIMINATOR = "generator.safetensors", "discriminator.safetensors"
FILES = (CARD, GENERATOR, DISCRIMINATOR, PROGRAM)  # the card first: without it a folder is no model
COLLECTIONS = ["params", "batch_stats"]  # what is kept of a network
PRECISIONS = ("float32", "float16")


def save_model(folder: epath.Path, model: Model, precision: str, *, with_program: bool) -> None:
    """Writes weights, program and card; the card last, so that a folder with a card is complete.

    Args:
      folder: made if missing; files of a model that is there are removed first.
      model: with its discriminator, or without.
      precision: of the numbers in the weights' files; they are float32 again when they are read.
      with_program: whether the generator is written as a program too, with the weights as they were written.

    Raises:
      InputError: the model has modules of the user's own.
    """
    if type(model.generator) is not Generator:
        raise InputError(
            f"the model {model.card.name} cannot be exported: a card describes the networks of this package, not"
            f" {type(model.generator).__name__}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    write_atomic(folder / GENERATOR, _encoded(model.variables, precision))
    if model.discriminator_variables is not None:
        write_atomic(folder / DISCRIMINATOR, _encoded(model.discriminator_variables, precision))
    if with_program:
        written = _decoded(folder / GENERATOR, generator_shapes(model.card))
        write_atomic(folder / PROGRAM, generator_program(dataclasses.replace(model, variables=written)))
    write_atomic(folder / CARD, card_to_json(model.card).encode())


def load_model(path: epath.PathLike, mesh: Mesh, call_size: int, *, with_discriminator: bool = False) -> Model:
    """Reads a folder that `save_model` wrote.

    Args:
      path: of the folder, on a disk or in a bucket.
      mesh: the devices.
      call_size: samples per call.
      with_discriminator: whether the discriminator is read too, if the folder has one.

    Raises:
      InputError: it is no such folder, or something in it is damaged.
    """
    folder = user_path(path)
    file = folder / CARD
    if not file.exists():
        raise InputError(f"{path} is no portable model (no {CARD}): give a folder that sagan_jax.export wrote.")
    try:
        card = card_from_json(read_bytes(file), file)
    except OSError as error:
        raise InputError(f"the card {file} cannot be read ({error}): export the model again.") from error
    variables = _decoded(folder / GENERATOR, generator_shapes(card))
    discriminator_variables = None
    if with_discriminator and card.discriminator and (folder / DISCRIMINATOR).exists():
        discriminator_variables = _decoded(folder / DISCRIMINATOR, discriminator_shapes(card))
    return Model.from_card(card, mesh, call_size, variables, discriminator_variables)


def generator_shapes(card: Card) -> Tree:
    """Returns the shapes of the generator's variables, by the card."""
    latents, labels = jnp.zeros((1, card.latent_size)), jnp.zeros(1, jnp.int32)
    init = functools.partial(card.build_generator().init, mutable=COLLECTIONS)
    return jax.eval_shape(lambda key: init(key, latents, labels, train=False), jax.random.key(0))


def discriminator_shapes(card: Card) -> Tree:
    """Returns the shapes of the discriminator's variables; the card must have a discriminator."""
    discriminator = card.build_discriminator()
    assert discriminator
    images, labels = jnp.zeros((1, card.resolution, card.resolution, IMAGE_CHANNELS)), jnp.zeros(1, jnp.int32)
    init = functools.partial(discriminator.init, mutable=COLLECTIONS)
    return jax.eval_shape(lambda key: init(key, images, labels), jax.random.key(0))


def check_arrays(found: dict[str, np.ndarray], shapes: Tree, where: Any) -> Tree:
    """Returns arrays as nested dicts of float32.

    Args:
      found: arrays by names like "params/block_8/conv_0/kernel".
      shapes: of the arrays that are expected, as nested dicts.
      where: the arrays come from, for messages.

    Raises:
      InputError: arrays are missing, unknown, of another shape, or not finite; names them.
    """
    expected = flax.traverse_util.flatten_dict(shapes, sep="/")
    for what, names in (("lacks", expected.keys() - found.keys()), ("has unknown", found.keys() - expected.keys())):
        if names:
            shown = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise InputError(f"{where} {what} arrays ({shown}): it belongs to another architecture.")
    for name, like in expected.items():
        if found[name].shape != like.shape:
            raise InputError(
                f"{name} in {where} has the shape {found[name].shape}, not {like.shape}: it belongs to another"
                " architecture."
            )
        if not np.isfinite(found[name]).all():
            raise InputError(f"{name} in {where} is not finite: the model has diverged, or the file is damaged.")
    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}
    return flax.traverse_util.unflatten_dict(arrays, sep="/")


def _encoded(variables: Tree, precision: str) -> bytes:
    flat = flax.traverse_util.flatten_dict(jax.device_get(variables), sep="/")
    return safetensors.numpy.save({name: np.asarray(value, precision, order="C") for name, value in flat.items()})


def _decoded(file: epath.Path, shapes: Tree) -> Tree:
    try:
        found = safetensors.numpy.load(read_bytes(file, _most_bytes(shapes)))
    except (OSError, SafetensorError) as error:
        raise InputError(f"the weights {file} are damaged or missing ({error}): export the model again.") from error
    return check_arrays(found, shapes, file)


def _most_bytes(shapes: Tree) -> int:
    """Returns the most bytes that a file of these arrays takes, generously: their numbers, and their names."""
    leaves = jax.tree.leaves(shapes)
    return 2 * sum(leaf.size * 4 for leaf in leaves) + 1000 * len(leaves) + (1 << 20)
