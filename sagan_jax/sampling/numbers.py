"""Writes numbers for people: signed ones, multiples of an even share, and percentages."""


def signed(value: float, decimals: int) -> str:
    """Writes a gamma or a logit such as "+1.18" or "−0.17", with a minus sign as wide as the plus."""
    return f"{value:+,.{decimals}f}".replace("-", "−")


def times(multiple: float) -> str:
    """Writes a multiple such as "1.4×", "22×" or "1,024×": two digits below ten, whole from there on."""
    return f"{multiple:.1f}×".replace(".0×", "×") if round(multiple, 1) < 10 else f"{multiple:,.0f}×"


def percent(fraction: float) -> str:
    """Writes a fraction of 0 to 1 such as "38 %"."""
    return f"{100 * fraction:.0f} %"
