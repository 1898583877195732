"""What a caller of `train_and_evaluate` gives in place of, or in addition to, what the config names."""

import dataclasses
from collections.abc import Sequence

from ml_collections import ConfigDict

from sagan_jax.data.pipeline import resolve_num_classes
from sagan_jax.data.source import ImageSource, ImageStream, open_source
from sagan_jax.data.source_check import check_source
from sagan_jax.errors import InputError
from sagan_jax.objectives.losses import AdversarialLoss
from sagan_jax.objectives.penalties import build_penalties
from sagan_jax.objectives.penalty import Penalty
from sagan_jax.runtime.writer import MetricWriter, check_writers
from sagan_jax.training.adaptive_augmentation import NAME as AUGMENTATION_PROBABILITY
from sagan_jax.training.networks import Networks


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a run that a caller gives; for all see `train_and_evaluate`."""

    source: ImageSource | None = None
    networks: Networks | None = None
    loss: AdversarialLoss | None = None
    penalties: tuple[Penalty, ...] = ()
    writers: Sequence[MetricWriter] = ()


NO_PARTS = Parts()
# That the step computes in every run; what follows the discriminator is logged beside them.
METRICS = {
    *("d_loss", "g_loss", "real_logits", "fake_logits", "d_accuracy", "d_real_accuracy", AUGMENTATION_PROBABILITY),
    *("d_gradient_norm", "g_gradient_norm", "gradient_ratio", "d_sigma_max", "g_sigma_max"),
    *("d_learning_rate", "g_learning_rate", "steps_per_s", "images_per_s", "data_wait"),
}


def open_data(config: ConfigDict, parts: Parts) -> tuple[ConfigDict, ImageSource | ImageStream]:
    """Opens the caller's source or that of the config; returns the config with `model.num_classes` known, and it.

    Images that are to be held out are among its images.

    Raises:
      InputError: the data cannot be used, or the caller's networks are not for them.
    """
    config = config.copy_and_resolve_references()
    if parts.source is not None:
        config.data.source = f"python:{parts.source.name}"
    source = parts.source or open_source(config)
    config.model.num_classes = resolve_num_classes(config, source)
    if parts.networks is not None:
        _check_networks(parts.networks, config)
    return config, source


def check_parts(parts: Parts, config: ConfigDict) -> None:
    """Raises InputError if a part cannot be used; before anything is made."""
    check_writers(parts.writers)
    if parts.source is not None:
        check_source(parts.source, config.data.resolution)
    if parts.networks is not None:
        _check_fields(parts.networks)
    _check_penalties(parts.penalties, build_penalties(config.train.penalties))
    if parts.loss is not None and not isinstance(parts.loss, AdversarialLoss):
        raise InputError("must be a sagan_jax.AdversarialLoss", field="loss", value=parts.loss)


def _check_penalties(given: tuple[Penalty, ...], named: tuple[Penalty, ...]) -> None:
    names = [getattr(penalty, "name", None) for penalty in (*given, *named)]
    if not all(isinstance(penalty, Penalty) for penalty in given) or len(set(names)) < len(names):
        wrong = "must be sagan_jax.Penalty objects, each with a name of its own that train.penalties has not"
        raise InputError(wrong, field="penalties", value=given)
    statistics = {statistic for penalty in (*given, *named) for statistic in penalty.running}
    if len({statistic.name for statistic in statistics}) < len(statistics):
        raise InputError("have different running statistics of the same name", field="penalties", value=given)
    metrics = METRICS | {f"{network}_{name}" for network in "dg" for name in names}
    if taken := {statistic.name for statistic in statistics} & metrics:
        raise InputError(
            f"have a running statistic with the name of a metric, {min(taken)}", field="penalties", value=given
        )
    noise = {penalty.latent_noise for penalty in (*given, *named)} - {0.0}
    if len(noise) > 1:
        wrong = f"have different latent_noise, {' and '.join(map(str, sorted(noise)))}"
        raise InputError(wrong, field="penalties", value=given, remedy="one is shared by all")


def _check_networks(networks: Networks, config: ConfigDict) -> None:
    resolutions = {
        "generator": networks.generator.architecture.resolutions[-1],
        "discriminator": 2 * networks.discriminator.architecture.resolutions[0],
    }
    for name, resolution in resolutions.items():
        classes = getattr(networks, name).num_classes
        if (resolution, classes) != (config.data.resolution, config.model.num_classes):
            raise InputError(
                f"is for {resolution} px and {classes} classes, but the config for {config.data.resolution} px and the"
                f" data for {config.model.num_classes} classes",
                field=f"networks.{name}",
                remedy="build it for these",
            )


def _check_fields(networks: Networks) -> None:
    for name in ("generator", "discriminator"):
        module = getattr(networks, name, None)
        missing = [field for field in ("architecture", "num_classes", "config") if not hasattr(module, field)]
        if missing:
            raise InputError(
                f"is a {type(module).__name__}, which has no {' and no '.join(missing)}",
                field=f"networks.{name}",
                remedy=f"give a sagan_jax.{name.capitalize()}, or a subclass of it",
            )
