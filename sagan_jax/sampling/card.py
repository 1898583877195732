"""What is known of a trained model apart from its weights: enough to build its networks, name its classes, trust it."""

import dataclasses
import json
from typing import Any

from sagan_jax.errors import InputError
from sagan_jax.models.architecture import (
    SEED_RESOLUTION,
    Architecture,
    check_architecture,
)
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.layers import LayerConfig
from sagan_jax.renamed import with_new_names

FORMAT = "sagan_jax model, version 1"


@dataclasses.dataclass(frozen=True)
class Card:
    """A model's card; as JSON it is `model.json` of a portable model.

    Attributes:
      name: of the run's folder, or of the file that was imported.
      latent_size: length of a latent, Z.
      num_classes: 0 for an unconditional model.
      generator: its feature maps.
      discriminator: likewise, or None where only the generator is known.
      batch_norm_epsilon: of the generator.
      class_names: one per label.
      class_frequencies: of generated classes, in label order; empty: all alike.
      step: completed steps of training, or None where they are not known.
      weights: what was done to make them ready, for people.
      origin: where they come from: the run's config and data, or the imported file.
      evaluations: what `sagan_jax.evaluate` wrote of this step: scores and their protocol.
      inplace_relu: of the discriminator, see `Discriminator`; a card that does not say has none.
    """

    name: str
    latent_size: int
    num_classes: int
    generator: Architecture
    discriminator: Architecture | None
    batch_norm_epsilon: float
    class_names: tuple[str, ...]
    class_frequencies: tuple[float, ...]
    step: int | None
    weights: str
    origin: dict[str, Any]
    evaluations: tuple[dict[str, Any], ...] = ()
    inplace_relu: bool = False

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.generator.resolutions[-1]

    def build_generator(self) -> Generator:
        """The module, in float32."""
        config = LayerConfig(spectral_norm=(), batch_norm_epsilon=self.batch_norm_epsilon)
        return Generator(self.generator, self.num_classes, config)

    def build_discriminator(self) -> Discriminator | None:
        """The module, in float32, if there is one."""
        if self.discriminator is None:
            return None
        return Discriminator(
            self.discriminator, self.num_classes, LayerConfig(spectral_norm=()), inplace_relu=self.inplace_relu
        )


def card_to_json(card: Card) -> str:
    """The card as a file, for `card_from_json`."""
    return json.dumps({"format": FORMAT} | dataclasses.asdict(card), indent=2) + "\n"


def card_from_json(text: str, file: Any) -> Card:
    """A card as it was written. Raises InputError, which names `file`, if it is damaged or of another format."""
    try:
        content = with_new_names(json.loads(text))
        found = content.pop("format", None) if isinstance(content, dict) else None
        if found != FORMAT:
            raise InputError(f"{file} says {found!r} where a card says {FORMAT!r}: give a folder that export wrote.")
        networks = {name: _architecture(content.pop(name)) for name in ("generator", "discriminator")}
        card = Card(**networks, **{name: _frozen(value) for name, value in content.items()})
        _check(card)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the card {file} is damaged ({error}): export the model again.") from error
    return card


def _architecture(content: dict[str, Any] | None) -> Any:
    if content is None:
        return None
    return Architecture(**{name: tuple(int(number) for number in numbers) for name, numbers in content.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check(card: Card) -> None:
    """Raises ValueError unless the parts fit together; a stranger's card may say anything."""
    check_architecture(card.generator, first=SEED_RESOLUTION)
    if card.discriminator:
        check_architecture(card.discriminator, first=card.resolution // 2)
    numbers = (card.latent_size, card.num_classes, card.batch_norm_epsilon)
    if not all(isinstance(number, int | float) for number in numbers) or not 1 <= card.latent_size <= 2**16:
        raise ValueError(f"latent_size, num_classes, batch_norm_epsilon = {numbers}")
    if not 0 <= card.num_classes <= 2**20 or (card.num_classes and len(card.class_names) != card.num_classes):
        raise ValueError(f"{card.num_classes} classes with {len(card.class_names)} names")
    if len(card.class_frequencies) not in (0, card.num_classes):
        raise ValueError(f"{card.num_classes} classes with {len(card.class_frequencies)} shares")
    if not isinstance(card.inplace_relu, bool):
        raise ValueError(f"inplace_relu = {card.inplace_relu}")
    if not all(isinstance(name, str) for name in (card.name, card.weights, *card.class_names)):
        raise ValueError("a name is no text")
