"""Advice where the metrics show a pattern that is known to end badly; each piece once in a program.

The thresholds are of this package's own runs (docs/training.md): such a run seldom gets well by itself.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sagan_jax.runtime.timing import info

Values = Mapping[str, float]  # metrics by name, means over an interval


class Advice(NamedTuple):
    """A pattern, and what to do about it.

    Attributes:
      needs: the metrics that it looks at; where one is missing, it says nothing.
      applies: whether they show the pattern.
      text: a sentence, with the metrics in braces.
    """

    needs: tuple[str, ...]
    applies: Callable[[Values], bool]
    text: str


LEARNED_BY_HEART = Advice(
    ("d_real_accuracy_training", "d_real_accuracy_held_out"),
    lambda values: values["d_real_accuracy_training"] - values["d_real_accuracy_held_out"] > 0.3,
    "D calls {d_real_accuracy_training:.0%} of the training images real and {d_real_accuracy_held_out:.0%} of held-out"
    " ones: it learns them by heart; try train.augmentations or train.penalties",
)
DISCRIMINATOR_AHEAD = Advice(
    ("d_accuracy",),
    lambda values: values["d_accuracy"] > 0.98,
    "D tells {d_accuracy:.1%} of real and generated images apart, and G learns little from it; try"
    " train.penalties=r1:1, a lower optimizer.discriminator.learning_rate or fewer train.discriminator_updates",
)
GRADIENTS_APART = Advice(
    ("gradient_ratio",),
    lambda values: not 1e-3 < values["gradient_ratio"] < 1e3,
    "G's gradient is {gradient_ratio:.2g} times as long as D's: one of them hardly learns; look at the learning rates",
)
SAMPLES_ALIKE = Advice(
    ("sample_spread",),
    lambda values: values["sample_spread"] < 0.3,
    "samples of a class differ {sample_spread:.0%} as much as its real images: G makes one image again and again; try"
    " lower learning rates or a larger batch",
)
AUGMENTATION_AT_ITS_END = Advice(
    ("augmentation_probability",),
    lambda values: values["augmentation_probability"] > 0.9,
    "augmentation has gone up to {augmentation_probability:.0%} and G may learn what it does to images; more images"
    " would help, or train.penalties=r1:1 and a lower train.augmentation_target",
)
ALL = (LEARNED_BY_HEART, DISCRIMINATOR_AHEAD, GRADIENTS_APART, SAMPLES_ALIKE, AUGMENTATION_AT_ITS_END)
INTERVALS = 3  # in a row that must show a pattern, since a single one may be chance


class Adviser:
    """Says each piece of advice once."""

    def __init__(self) -> None:
        self._shown = dict.fromkeys(ALL, 0)  # intervals in a row

    def look(self, step: int, values: Values) -> None:
        """Looks at the metrics of an interval, or at some of them; says what is due."""
        for advice in [advice for advice in self._shown if values.keys() >= set(advice.needs)]:
            self._shown[advice] = self._shown[advice] + 1 if advice.applies(values) else 0
            if self._shown[advice] == INTERVALS:
                del self._shown[advice]
                info(f"advice at step {step:,}: {advice.text.format(**values)}")
