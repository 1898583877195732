"""A finished or running run, opened for sampling from what its workdir holds."""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import default_config
from sagan_jax.data.source import class_frequencies, open_source
from sagan_jax.errors import InputError
from sagan_jax.runtime.checkpoint import SavedCheckpoints
from sagan_jax.runtime.sharding import replicated
from sagan_jax.training.evaluation import BEST
from sagan_jax.training.sampling import Sampler
from sagan_jax.training.state import Tree, create_state
from sagan_jax.training.step import build_recipe

NEWEST, CHECKPOINTS = "newest", "checkpoints"


class Trained(NamedTuple):
    """A generator ready to make samples.

    Attributes:
      config: of its run.
      class_names: one per label.
      step: completed steps of the checkpoint.
      sampler, variables: the averaged generator, frozen.
    """

    config: ConfigDict
    class_names: tuple[str, ...]
    step: int
    sampler: Sampler
    variables: Tree


def open_trained(workdir: str, checkpoint: str, mesh: Mesh, batch_size: int | None = None) -> Trained:
    """Opens a run.

    Args:
      workdir: of the run.
      checkpoint: "newest", "best" or a step.
      mesh: the devices.
      batch_size: samples per call, by default as the run has it.

    Raises:
      InputError: there is no such run or checkpoint.
    """
    folder = Path(workdir).expanduser()
    config, class_names = _settings(folder)
    place = folder / (BEST if checkpoint == BEST else CHECKPOINTS)
    if not place.is_dir():
        raise InputError(_nothing_saved(folder, checkpoint))
    checkpoints = SavedCheckpoints(place)
    try:
        step = _chosen(checkpoints.steps(), checkpoint, folder)
        shares = class_frequencies(config, open_source(config)) if config.data.class_sampling != "uniform" else ()
        recipe = build_recipe(config, shares)
        create = functools.partial(create_state, recipe.networks, recipe.optimizers, recipe.prior)
        like = jax.eval_shape(create, jax.random.key(0))
        state = checkpoints.restore(step, like, sharding=replicated(mesh))
    finally:
        checkpoints.close()
    if batch_size:
        config.sampling.batch_size = batch_size
    sampler = Sampler(recipe.networks.generator, recipe.prior, mesh, **config.sampling)
    variables = sampler.freeze(state.ema_params, config.seed)
    return Trained(config, class_names, step, sampler, variables)


def _settings(folder: Path) -> tuple[ConfigDict, tuple[str, ...]]:
    try:
        saved = json.loads((folder / "config.json").read_text())
        names = tuple(json.loads((folder / "data.json").read_text())["data"]["class_names"])
        config = default_config()
        _fill(config, saved)
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no folder of a run (no {error.filename}): give another --workdir.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"config.json or data.json in {folder} is damaged ({error}): restore it.") from error
    return config, names


def _fill(config: ConfigDict, saved: dict) -> None:
    """Sets the fields that the run saved; fields that it did not know keep their defaults."""
    for name, value in saved.items():
        if isinstance(value, dict):
            if name in config:
                _fill(config[name], value)
        elif name in config:
            config[name] = tuple(value) if isinstance(value, list) else value


def _chosen(steps: list[int], checkpoint: str, folder: Path) -> int:
    if not steps:
        raise InputError(_nothing_saved(folder, checkpoint))
    if checkpoint in (NEWEST, BEST):
        return steps[-1]
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        shown = ", ".join(map(str, steps))
        raise InputError(f"{folder} has no checkpoint {checkpoint}: choose from {NEWEST}, {BEST} or a step ({shown}).")
    return int(checkpoint)


def _nothing_saved(folder: Path, checkpoint: str) -> str:
    if checkpoint == BEST:
        return f"{folder} has no best checkpoint: a run keeps one where eval.features is set; use {NEWEST}."
    return f"{folder} has no checkpoint yet: train on, or give another run's --workdir."
