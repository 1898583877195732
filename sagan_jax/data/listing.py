"""Tells which files of a listing are images, and says in words what was left out."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from sagan_jax.data.formats import counted_suffixes, has_image_suffix

LABEL_FILE = "dataset.json"  # StyleGAN's: {"labels": [["folder/image.png", 3], ...]}
CLASS_FILE = "classes.json"  # {"folder or label": "name to show", ...}


def plain_path(name: str) -> str:
    """Returns a path without "." and doubled slashes, in one of the spellings that Unicode has for accents (NFC).

    Args:
      name: relative path; those of folders end with "/" and remain so.
    """
    if name.isascii() and "//" not in name and "./" not in name:
        return name
    parts = [part for part in unicodedata.normalize("NFC", name).split("/") if part not in ("", ".")]
    return "/".join(parts) + ("/" if parts and name.endswith(("/", "/.")) else "")


def is_image(name: str) -> bool:
    """Returns whether a path has the suffix of an image and is not hidden (such as the files of macOS and git)."""
    return has_image_suffix(name) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Returns whether a path is that of a hidden file, or below a hidden folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def left_out(names: Sequence[str]) -> Iterator[str]:
    """Yields, as parts of a sentence, what a listing holds that a person may take for images but that is not read."""
    described = (LABEL_FILE, CLASS_FILE)
    others = [n for n in names if not (n.endswith("/") or is_hidden(n) or n in described or has_image_suffix(n))]
    if others:
        yield f"{_files(others, 'file')} not read: {counted_suffixes(others)}"
    hidden = sorted(name for name in names if has_image_suffix(name) and is_hidden(name) and not _of_macos(name))
    if hidden:
        yield f"{_files(hidden, 'hidden image')}, such as {hidden[0]}"


def _files(names: Sequence[str], what: str) -> str:
    return f"{len(names):,} {what}{'s' if len(names) > 1 else ''}"


def _of_macos(name: str) -> bool:
    """Returns whether a path is that of a double in which macOS keeps what other systems' files cannot hold."""
    return "__MACOSX" in name.split("/") or PurePosixPath(name).name.startswith("._")
