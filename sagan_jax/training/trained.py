"""Opens a finished or running run for sampling, from what its workdir holds."""

import dataclasses
import functools
from typing import Any

import flax
import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import default_config
from sagan_jax.errors import InputError
from sagan_jax.models.plain import plain_network, plain_params
from sagan_jax.runtime.checkpoint_reading import SavedCheckpoints
from sagan_jax.runtime.documents import read_document
from sagan_jax.runtime.settings import SavedData, read_data, read_settings
from sagan_jax.runtime.user_paths import user_path
from sagan_jax.runtime.workdir import BEST, CHECKPOINTS, CONFIG_FILE, DATA_FILE, EVALUATIONS, step_name
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.creation import abstract_state
from sagan_jax.training.networks import Networks, build_networks
from sagan_jax.training.parts import Parts
from sagan_jax.training.ranges import check_ranges
from sagan_jax.training.state import Tree
from sagan_jax.training.step_config import TrainStepConfig, build_step_config

NEWEST = "newest"


def open_trained(
    workdir: epath.PathLike,
    checkpoint: str,
    mesh: Mesh,
    call_size: int | None = None,
    *,
    with_discriminator: bool = False,
    networks: Networks | None = None,
) -> Model:
    """Opens a run; the data set is not needed.

    Args:
      workdir: of the run.
      checkpoint: "newest", "best" or a step.
      mesh: the devices.
      call_size: samples per call, by default as in the run.
      with_discriminator: whether the discriminator is read too.
      networks: the modules that the run was trained with, where they are not those of its config. The card describes
        those of the config even so.

    Raises:
      InputError: there is no such run or checkpoint, or its arrays are not those of the networks.
    """
    folder = user_path(workdir)
    config, data = _settings(folder)
    step_config = build_step_config(config, data.class_frequencies, Parts(networks=networks))
    card = _card(folder, config, data, build_networks(config))
    step, weights = _restored(folder, checkpoint, step_config, mesh, own_networks=networks is not None)
    card = dataclasses.replace(card, step=step, evaluations=_evaluations(folder, step))
    sampler = Sampler(step_config.networks.generator, step_config.prior, mesh, **config.sampling, call_size=call_size)
    variables = sampler.freeze(weights["ema_params"], config.seed)
    if not with_discriminator:
        return Model(card, sampler, variables)
    discriminator = plain_network(networks.discriminator) if networks else card.build_discriminator()
    normalize = jax.jit(functools.partial(plain_params, step_config.networks.discriminator))
    discriminator_variables = {"params": normalize(weights["discriminator"]["params"])}
    return Model(card, sampler, variables, discriminator, discriminator_variables)


def run_config(card: Card) -> ConfigDict:
    """Returns the config of the run that a model comes from; the default config where it comes from elsewhere."""
    config = default_config()
    _fill(config, card.origin.get("config", {}))
    return config


def _card(folder: epath.Path, config: ConfigDict, data: SavedData, networks: Networks) -> Card:
    return Card(
        name=folder.absolute().name,
        latent_size=config.model.latent_size,
        num_classes=config.model.num_classes,
        generator=networks.generator.architecture,
        discriminator=networks.discriminator.architecture,
        batch_norm_epsilon=config.model.batch_norm_epsilon,
        class_names=data.data.class_names,
        class_frequencies=data.class_frequencies,
        weights="averaged; divided by exact singular values; moments of"
        f" {config.sampling.standing_batches} batches of {config.sampling.batch_size}",
        origin={"config": config.to_dict(), "data": dataclasses.asdict(data.data)},
        conditioning=config.model.generator.conditioning,
        attention=config.model.attention,
        blocks=config.model.blocks,
    )


def _evaluations(folder: epath.Path, step: int) -> tuple[dict[str, Any], ...]:
    files = sorted((folder / EVALUATIONS).glob(f"{step_name(step)}-*.json"))
    return tuple(read_document(file, dict[str, Any], "delete it and evaluate again") for file in files)


def _restored(
    folder: epath.Path, checkpoint: str, step_config: TrainStepConfig, mesh: Mesh, *, own_networks: bool
) -> tuple[int, Tree]:
    """Returns the step of a checkpoint, and the `_weights` in it."""
    place = folder / (BEST if checkpoint == BEST else CHECKPOINTS)
    if not place.is_dir():
        raise InputError(_nothing_saved(folder, checkpoint))
    checkpoints = SavedCheckpoints(place)
    try:
        step = _chosen(checkpoints.steps(), checkpoint, folder)
        damage = checkpoints.verify(step)
        if damage:
            raise InputError(f"checkpoint {step} of {folder} is damaged ({damage}): choose another checkpoint.")
        if checkpoints.has_arrays(step, "generator", "spectral_stats", "conditioning") and not own_networks:
            raise InputError(
                f"checkpoint {step} of {folder} has a class embedding with spectral norm, as of sagan_jax 0.1.0: open"
                " it with that version, or pass the modules that it was trained with as networks=."
            )
        state = abstract_state(step_config, mesh)
        like = _weights(flax.serialization.to_state_dict(state))
        return step, checkpoints.restore(step, like, partial=True)
    finally:
        checkpoints.close()


def _weights(state: Tree) -> Tree:
    """Returns the part of a `TrainState`, as nested dicts, that is needed for sampling."""
    return {"ema_params": state["ema_params"], "discriminator": {"params": state["discriminator"]["params"]}}


def _settings(folder: epath.Path) -> tuple[ConfigDict, SavedData]:
    try:
        saved = read_settings(folder / CONFIG_FILE)
        data = read_data(folder / DATA_FILE)
        config = default_config()
        _fill(config, saved)
        check_ranges(config)
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no folder of a run (no {error.filename}): give another workdir.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{CONFIG_FILE} in {folder} is damaged ({error}): restore it.") from error
    if config.data.class_sampling != "uniform" and config.model.num_classes and not data.class_frequencies:
        raise InputError(
            f"{DATA_FILE} in {folder} lacks class_frequencies, as older runs do: continue the run once, to add them."
        )
    return config, data


def _fill(config: ConfigDict, saved: dict) -> None:
    """Sets the fields that the run saved; fields that it did not know keep their defaults."""
    for name, value in saved.items():
        if name not in config:
            continue
        if isinstance(config[name], ConfigDict) != isinstance(value, dict) or value is None:
            raise ValueError(f"{name} holds {type(value).__name__}")
        if isinstance(value, dict):
            _fill(config[name], value)
        else:
            config[name] = tuple(value) if isinstance(value, list) else value


def _chosen(steps: list[int], checkpoint: str, folder: epath.Path) -> int:
    if not steps:
        raise InputError(_nothing_saved(folder, checkpoint))
    if checkpoint in (NEWEST, BEST):
        return steps[-1]
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        shown = ", ".join(map(str, steps))
        raise InputError(f"{folder} has no checkpoint {checkpoint}: choose from {NEWEST}, {BEST} or a step ({shown}).")
    return int(checkpoint)


def _nothing_saved(folder: epath.Path, checkpoint: str) -> str:
    if checkpoint == BEST:
        return f"{folder} has no best checkpoint: a run keeps one where eval.features is set; use {NEWEST}."
    return f"{folder} has no checkpoint yet: train on, or give another run's workdir."
