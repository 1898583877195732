"""Names that have changed: files of earlier versions are read under the new ones, old config fields refused by them."""

from typing import Any

CONFIG_FIELDS = {
    "model.generator.residual": "model.generator.local_block",
    "model.discriminator.residual": "model.discriminator.local_block",
}
KEYS = {
    "activated_shortcuts": "inplace_relu",
    "cautions": "warnings",
    "class_shares": "class_frequencies",
    "residual": "local_block",
    "spread": "std_error",
}


def with_new_names(content: Any) -> Any:
    """Renames the keys of a JSON value that an earlier version wrote; others stay as they are."""
    if isinstance(content, dict):
        return {KEYS.get(key, key): with_new_names(value) for key, value in content.items()}
    return [with_new_names(value) for value in content] if isinstance(content, list) else content
