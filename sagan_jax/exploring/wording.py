"""How numbers, layers and choices are said to people."""

from collections.abc import Sequence

from sagan_jax.exploring.scene import NO_TRUNCATION, AttentionLayer, Choice


def signed(value: float, decimals: int) -> str:
    """Such as "+1.18" or "−0.17", with a minus sign that is as wide as the plus."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def percent(fraction: float) -> str:
    """Such as "98 %"."""
    return f"{100 * fraction:.0f} %"


def layer_name(layer: AttentionLayer) -> str:
    """Such as "Generator 8×8"."""
    return f"{layer.network.capitalize()} {layer.side}×{layer.side}"


def class_name(names: Sequence[str], label: int) -> str:
    """The name of a class, or "class 3" where the name is a number; empty where there are no classes."""
    if len(names) < 2:
        return ""
    return f"class {names[label]}" if names[label].isdecimal() else names[label]


def subject(choice: Choice, names: Sequence[str], uploaded: bool) -> str:
    """What is shown, such as "class 3 · seed 7" or "uploaded image, taken for class 3"."""
    label = class_name(names, choice.label)
    if uploaded:
        return f"uploaded image, taken for {label}" if label else "uploaded image"
    parts = [label, f"seed {choice.seed}"]
    if choice.truncation < NO_TRUNCATION:
        parts.append(f"truncation {choice.truncation:g}")
    if choice.walk:
        parts.append(f"{percent(choice.walk)} of the way to seed {choice.other_seed}")
    if choice.mix:
        parts.append(f"{percent(choice.mix)} {class_name(names, choice.other_label)}")
    return " · ".join(part for part in parts if part)
