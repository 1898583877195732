"""The card of a trained model: its architecture, classes, origin and scores; everything except the weights."""

import dataclasses
import difflib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sagan_jax import __version__
from sagan_jax.errors import InputError
from sagan_jax.models.architecture import SEED_RESOLUTION, Architecture, check_architecture
from sagan_jax.models.attention import ATTENTIONS
from sagan_jax.models.blocks import BLOCKS
from sagan_jax.models.conditioning import CONDITIONINGS
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.layers import LayerConfig
from sagan_jax.runtime.documents import Name, Text, parse_earlier, with_kind
from sagan_jax.runtime.settings import are_frequencies

FORMAT = "sagan_jax model, version 1"

Classes = str | int | Sequence[str | int] | np.ndarray | None  # names, labels or both; None: all


@dataclasses.dataclass(frozen=True)
class Card:
    """A model's card; as JSON it is `model.json` of an exported model.

    Attributes:
      name: of the run's folder, or of the imported file.
      latent_size: length of a latent, Z.
      num_classes: 0 for an unconditional model.
      generator: its feature maps.
      discriminator: its feature maps, or None where only the generator is known.
      batch_norm_epsilon: of the generator.
      class_names: one per label.
      class_frequencies: fraction of each class among generated labels; empty: all alike.
      step: completed training steps, or None where they are not known.
      weights: how the weights were prepared, as text.
      origin: the run's config and data, or the imported file.
      evaluations: scores of this step with their protocol, as `sagan_jax.evaluate` wrote them.
      inplace_relu: whether shortcuts of the discriminator see ReLU(x), see `Discriminator`.
      conditioning, attention, blocks: of the networks, keys of `CONDITIONINGS`, `ATTENTIONS` and `BLOCKS`.
    """

    name: Name
    latent_size: int
    num_classes: int
    generator: Architecture
    discriminator: Architecture | None
    batch_norm_epsilon: float
    class_names: tuple[Name, ...]
    class_frequencies: tuple[float, ...] = ()
    step: int | None = None
    weights: Text = ""
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluations: tuple[dict[str, Any], ...] = ()
    inplace_relu: bool = False
    conditioning: Name = "labels"
    attention: Name = "pooled"
    blocks: Name = "residual"

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.generator.resolutions[-1]

    def build_generator(self) -> Generator:
        """Builds the plain module, in float32."""
        config = LayerConfig(spectral_norm=(), batch_norm_epsilon=self.batch_norm_epsilon)
        return Generator(
            self.generator,
            self.num_classes,
            config,
            ATTENTIONS[self.attention],
            CONDITIONINGS[self.conditioning],
            BLOCKS[self.blocks],
        )

    def build_discriminator(self) -> Discriminator | None:
        """Builds the plain module, in float32, or returns None if there is no discriminator."""
        if self.discriminator is None:
            return None
        config = LayerConfig(spectral_norm=())
        return Discriminator(
            self.discriminator,
            self.num_classes,
            config,
            ATTENTIONS[self.attention],
            self.inplace_relu,
            BLOCKS[self.blocks],
        )

    def labels(self, classes: Classes = None) -> np.ndarray:
        """Returns the labels [K] int32 of classes, by name or label. Raises InputError if there is no such class."""
        return np.asarray(find_labels(classes, self.class_names if self.num_classes else ()), np.int32)


def card_to_json(card: Card) -> str:
    """Returns the text of `model.json`; `card_from_json` reads it."""
    return json.dumps({"format": FORMAT} | dataclasses.asdict(card), indent=2) + "\n"


def card_from_json(text: bytes, file: Any) -> Card:
    """Reads a card; fields that it lacks have their defaults, renamed ones are read under their new names.

    Args:
      text: from `card_to_json` of this or an earlier version.
      file: where it comes from, for messages.

    Raises:
      InputError: the card is damaged, of another format or of a later version.
    """
    remedy = "export the model again"
    content = parse_earlier(text, f"the card {file}", remedy)
    found = content.pop("format", None)
    if found != FORMAT:
        shown = repr(found)[:100]
        raise InputError(f"{file} says {shown} where a card says {FORMAT!r}: give a folder that export wrote.")
    _check_fields(Card, content, file)
    for network in ("generator", "discriminator"):
        if isinstance(content.get(network), dict):
            _check_fields(Architecture, content[network], file)
    card = with_kind(content, Card, f"the card {file}", remedy)
    try:
        _check(card)
    except ValueError as error:
        raise InputError(f"the card {file} is damaged ({error}): {remedy}.") from error
    return card


def find_labels(classes: Classes, class_names: Sequence[str]) -> list[int]:
    """Returns the labels of classes that a person asks for.

    Args:
      classes: names, labels or both; a text may hold several with commas. None or empty: all classes.
      class_names: one per label; empty for an unconditional model.

    Raises:
      InputError: there is no such class; names the nearest ones.
    """
    several = () if classes is None else [classes] if np.ndim(classes) == 0 else classes
    asked: list[Any] = []
    for one in several:  # type: ignore[union-attr]
        # A name may hold commas itself.
        asked += one.split(",") if isinstance(one, str) and one not in class_names else [one]
    return [_label(one, class_names) for one in asked] or list(range(max(1, len(class_names))))


def _label(asked: Any, class_names: Sequence[str]) -> int:
    name = str(asked).strip()
    if isinstance(asked, str):
        same = [label for label, known in enumerate(class_names) if known == name]
        same = same or [label for label, known in enumerate(class_names) if known.lower() == name.lower()]
        if len(same) == 1:
            return same[0]
    if name.isdecimal() and int(name) < max(1, len(class_names)):
        return int(name)
    if not class_names:
        raise InputError(f"classes={name}: this model knows no classes; leave them out.")
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in class_names], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"names are {', '.join(class_names[:5])} ..."
    raise InputError(f"classes={name} is no class of this model: {hint} Labels are 0 to {len(class_names) - 1}.")


def _check_fields(kind: type, content: dict[str, Any], file: Any) -> None:
    """Raises InputError for a field that the dataclass `kind` does not have."""
    unknown = sorted(content.keys() - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise InputError(
            f"{file} has the field {unknown[0][:100]!r}, which sagan_jax {__version__} does not know: use the version"
            " that exported it, or a later one."
        )


def _check(card: Card) -> None:
    """Raises ValueError unless the fields fit together; the card of a stranger may hold anything."""
    check_architecture(card.generator, first=SEED_RESOLUTION)
    if card.discriminator:
        check_architecture(card.discriminator, first=card.resolution // 2)
    if not 1 <= card.latent_size <= 2**16 or not 0 < card.batch_norm_epsilon < 1:
        raise ValueError(f"latent_size, batch_norm_epsilon = {card.latent_size}, {card.batch_norm_epsilon}")
    if not 0 <= card.num_classes <= 2**20 or (card.num_classes and len(card.class_names) != card.num_classes):
        raise ValueError(f"{card.num_classes} classes with {len(card.class_names)} names")
    if len(card.class_frequencies) not in (0, card.num_classes):
        raise ValueError(f"{card.num_classes} classes with {len(card.class_frequencies)} frequencies")
    if card.class_frequencies and not are_frequencies(card.class_frequencies):
        raise ValueError("class_frequencies do not add up to 1")
    if card.step is not None and not 0 <= card.step < 2**53:
        raise ValueError(f"step = {card.step}")
    for name, choices in (("conditioning", CONDITIONINGS), ("attention", ATTENTIONS), ("blocks", BLOCKS)):
        if getattr(card, name) not in choices:
            raise ValueError(f"{name} = {getattr(card, name)!r}")
