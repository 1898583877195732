"""Classes as people ask for them: by name or by number."""

import difflib
from collections.abc import Sequence

from sagan_jax.errors import InputError


def asked_labels(asked: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Labels of classes that a person named.

    Args:
      asked: each a name, a label, or several of them with commas; empty: all classes.
      class_names: one per label.

    Raises:
      InputError: there is no such class; with the nearest names.
    """
    labels: list[int] = []
    for text in asked:
        # A name may hold commas itself.
        labels += [_label(part, class_names) for part in ([text] if text in class_names else text.split(","))]
    return labels or list(range(max(1, len(class_names))))


def _label(text: str, class_names: Sequence[str]) -> int:
    name = text.strip()
    same = [label for label, known in enumerate(class_names) if known == name]
    same = same or [label for label, known in enumerate(class_names) if known.lower() == name.lower()]
    if len(same) == 1:
        return same[0]
    if name.isdecimal() and int(name) < max(1, len(class_names)):
        return int(name)
    if not class_names:
        raise InputError(": this model knows no classes", field="--classes", value=name, remedy="leave the flag out")
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in class_names], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"names are {', '.join(class_names[:5])} ..."
    remedy = f"{hint} Labels are 0 to {len(class_names) - 1}"
    raise InputError("is no class of this model", field="--classes", value=name, remedy=remedy)
