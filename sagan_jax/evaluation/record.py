"""The record of an evaluation, as JSON and as text: scores with the protocol by which they were measured."""

import dataclasses
import hashlib
import json
import textwrap
from collections.abc import Iterator
from typing import Any, TypedDict

import jax
from etils import epath

import sagan_jax
from sagan_jax.errors import InputError
from sagan_jax.evaluation.scores import KINDS, Score
from sagan_jax.runtime.documents import Name, Text, read_earlier
from sagan_jax.runtime.storage import write_atomic

FRACTIONS = ("precision", "recall", "coverage", "label_accuracy")  # shown in per cent
Protocol = dict[str, dict[str, Any]]  # by part: generated images, real images, features


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores and how they were measured.

    Attributes:
      scores: in the order in which they are shown.
      protocol: nested dict of JSON values: generated images, real images, features.
      warnings: sentences on what limits the meaning of the scores.
      seconds: duration of each part.
    """

    scores: tuple[Score, ...]
    protocol: Protocol
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def values(self) -> dict[str, float]:
        """Returns each score by its key."""
        return {score.key: score.value for score in self.scores}

    def value_of(self, kind: str) -> float | None:
        """Returns the score of a kind, or None if it was not measured."""
        return next((score.value for score in self.scores if score.kind == kind), None)

    @property
    def network(self) -> str:
        """Returns the name of the feature network."""
        return self.protocol["features"]["network"]

    def save(self, file: epath.Path) -> None:
        """Writes everything as JSON, for `read_evaluation`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, self.encoded())

    def encoded(self) -> bytes:
        """Returns the contents of the JSON file."""
        scores = {score.key: dataclasses.asdict(score) for score in self.scores}
        content = {
            "scores": scores,
            "protocol": self.protocol,
            "warnings": self.warnings,
            "seconds": {part: round(value, 2) for part, value in self.seconds.items()},
            "versions": {"sagan_jax": sagan_jax.__version__, "jax": jax.__version__},
        }
        return (json.dumps(content, indent=2) + "\n").encode()

    def lines(self) -> Iterator[str]:
        """Yields the lines of text that show the evaluation."""
        width = max(len(score.name) for score in self.scores) + 2
        for score in self.scores:
            about = f"({score.about})" if score.about else ""
            name = f"{score.name} {'↓' if KINDS[score.kind] else '↑'}"
            yield f"  {name:<{width}}  {shown_value(score):<18}  {about}".rstrip()
        parts = {part: ", ".join(shown_facts(facts)) for part, facts in self.protocol.items()}
        parts["time"] = ", ".join(f"{part} {value:,.1f} s" for part, value in self.seconds.items())
        for part, text in parts.items():
            yield textwrap.fill(f"  {part:<{width}}  {text}", 110, subsequent_indent=" " * (width + 4))
        for warning in self.warnings:
            yield textwrap.fill(f"  note: {warning}", 110, subsequent_indent="        ")


class Saved(TypedDict):
    """What is in the JSON file."""

    scores: dict[Name, Score]
    protocol: Protocol
    warnings: list[Text]
    seconds: dict[Name, float]


def read_evaluation(file: epath.Path) -> Evaluation:
    """Reads what `Evaluation.save` wrote. Raises InputError if the file is damaged."""
    remedy = "delete it and evaluate again"
    saved = read_earlier(file, Saved, remedy)
    scores = tuple(saved["scores"].values())
    if not all(score.kind in KINDS for score in scores):
        raise InputError(f"{file} is damaged (unknown scores): {remedy}.")
    if not isinstance(saved["protocol"].get("features", {}).get("network"), str):
        raise InputError(f"{file} is damaged (no feature network): {remedy}.")
    return Evaluation(scores, saved["protocol"], tuple(saved["warnings"]), saved["seconds"])


def result_name(features: str, protocol: Any) -> str:
    """Returns the end of a result file's name, such as "inception2015-768-1f0c2ab4.json".

    Args:
      features: name of the feature network.
      protocol: all else that the scores depend on; it is hashed, so that results by different protocols do not
        overwrite each other.
    """
    return f"{features.replace(':', '-')}-{hashlib.sha256(str(protocol).encode()).hexdigest()[:8]}.json"


def shown_facts(facts: dict[str, Any]) -> Iterator[str]:
    """Yields facts of a protocol as text, such as "images 10,000"."""
    for name, value in facts.items():
        text = f"{value:,}" if isinstance(value, int) else str(value)
        text = f"{text[:12]}…" if len(text) == 64 else text  # hashes
        yield f"{name.replace('_', ' ')} {text}"


def shown_value(score: Score) -> str:
    """Formats a score, such as 12.34, 0.00123 ± 0.00004, 12,345 ± 120 or 71.2%."""
    if score.kind in FRACTIONS:
        return f"{score.value:.1%}"
    std_error = "" if score.std_error is None else f" ± {_significant(score.std_error, '.2g', 10)}"
    return f"{_significant(score.value, '#.4g', 1000)}{std_error}"


def _significant(value: float, digits: str, whole_from: float) -> str:
    """Formats a number with so many digits, and from a size on as a whole number: `g` alone would write 1.2e+02."""
    return f"{value:,.0f}" if abs(value) >= whole_from else f"{value:{digits}}"
