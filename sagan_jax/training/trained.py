"""A finished or running run, opened for sampling from what its workdir holds."""

import json

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import default_config
from sagan_jax.errors import InputError
from sagan_jax.models.spectral_norm import normalize_exactly
from sagan_jax.renamed import with_new_names
from sagan_jax.runtime.checkpoint import SavedCheckpoints
from sagan_jax.runtime.workdir import BEST, CHECKPOINTS, CONFIG_FILE, DATA_FILE, EVALUATIONS, step_name
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.dispatch import compile_creation
from sagan_jax.training.step import build_step_config

NEWEST = "newest"


def open_trained(
    workdir: str, checkpoint: str, mesh: Mesh, call_size: int | None = None, *, with_discriminator: bool = False
) -> Model:
    """Opens a run; the data set is not needed.

    Args:
      workdir: of the run.
      checkpoint: "newest", "best" or a step.
      mesh: the devices.
      call_size: samples per call, by default as the run has it.
      with_discriminator: whether the discriminator is wanted too.

    Raises:
      InputError: there is no such run or checkpoint.
    """
    folder = epath.Path(workdir).expanduser()
    config, data = _settings(folder)
    place = folder / (BEST if checkpoint == BEST else CHECKPOINTS)
    if not place.is_dir():
        raise InputError(_nothing_saved(folder, checkpoint))
    checkpoints = SavedCheckpoints(place)
    try:
        step = _chosen(checkpoints.steps(), checkpoint, folder)
        damage = checkpoints.verify(step)
        if damage:
            raise InputError(f"checkpoint {step} of {folder} is damaged ({damage}): choose another with --checkpoint.")
        step_config = build_step_config(config, tuple(data["class_frequencies"]))
        like = compile_creation(step_config, mesh).eval_shape(jax.random.key(0))
        state = checkpoints.restore(step, like)
    finally:
        checkpoints.close()
    networks, sampling = step_config.networks, config.sampling
    sampler = Sampler(networks.generator, step_config.prior, mesh, **sampling, call_size=call_size)
    card = Card(
        name=folder.absolute().name,
        latent_size=config.model.latent_size,
        num_classes=config.model.num_classes,
        generator=networks.generator.architecture,
        discriminator=networks.discriminator.architecture,
        batch_norm_epsilon=config.model.batch_norm_epsilon,
        class_names=tuple(data["data"]["class_names"]),
        class_frequencies=tuple(data["class_frequencies"]),
        step=step,
        weights=f"averaged; divided by exact singular values; moments of {sampling.standing_batches} batches of"
        f" {sampling.batch_size}",
        origin={"config": config.to_dict(), "data": data["data"]},
        evaluations=tuple(
            json.loads(file.read_text()) for file in sorted((folder / EVALUATIONS).glob(f"{step_name(step)}-*.json"))
        ),
    )
    variables = sampler.freeze(state.ema_params, config.seed)
    discriminator_variables = (
        {"params": jax.jit(normalize_exactly)(state.discriminator.params)} if with_discriminator else None
    )
    return Model(
        card, sampler, variables, card.build_discriminator() if with_discriminator else None, discriminator_variables
    )


def run_config(card: Card) -> ConfigDict:
    """The config of the run that a model comes from; the defaults where it comes from elsewhere."""
    config = default_config()
    _fill(config, card.origin.get("config", {}))
    return config


def _settings(folder: epath.Path) -> tuple[ConfigDict, dict]:
    try:
        saved = with_new_names(json.loads((folder / CONFIG_FILE).read_text()))
        data = {"class_frequencies": []} | with_new_names(json.loads((folder / DATA_FILE).read_text()))
        config = default_config()
        _fill(config, saved)
        if not set(data["data"]) >= {"class_names"} or not isinstance(data["class_frequencies"], list):
            raise ValueError("something is missing")
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no folder of a run (no {error.filename}): give another --workdir.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{CONFIG_FILE} or {DATA_FILE} in {folder} is damaged ({error}): restore it.") from error
    if config.data.class_sampling != "uniform" and config.model.num_classes and not data["class_frequencies"]:
        raise InputError(
            f"{DATA_FILE} in {folder} lacks class_frequencies, as older runs do: continue the run once, to add them."
        )
    return config, data


def _fill(config: ConfigDict, saved: dict) -> None:
    """Sets the fields that the run saved; fields that it did not know keep their defaults."""
    for name, value in saved.items():
        if isinstance(value, dict):
            if name in config:
                _fill(config[name], value)
        elif name in config:
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
    return f"{folder} has no checkpoint yet: train on, or give another run's --workdir."
