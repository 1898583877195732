"""The formats of image files: all that Pillow decodes, and HEIC where its plug-in is installed."""

import collections
import contextlib
import functools
from collections.abc import Iterable
from pathlib import PurePosixPath

from PIL import Image

from sagan_jax.extras import install_extra

with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

# Those that Pillow recognises but decodes only by another program, or that are documents, films and measurements.
NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}
HEIF = {".heic", ".heif", ".hif"}  # read with the extra `heif`
COMMON = "JPEG, PNG, WebP, AVIF, TIFF and others"
SHOWN_SUFFIXES = 5


@functools.cache
def suffixes() -> frozenset[str]:
    """Returns the suffixes of all formats that are read, in small letters, such as ".jpg"."""
    formats = Image.registered_extensions()  # loads all of Pillow's plug-ins
    readable = {*Image.OPEN, "MPO"} - NOT_READ  # MPO files are opened as JPEG
    return frozenset(suffix for suffix, name in formats.items() if name in readable)


def has_image_suffix(name: str) -> bool:
    """Returns whether a path has the suffix of a format that is read."""
    return PurePosixPath(name).suffix.lower() in suffixes()


def counted_suffixes(names: Iterable[str]) -> str:
    """Counts paths by their suffixes, the most frequent first: "3 .heic (to read them: ...), 1 .txt"."""
    counts = collections.Counter(PurePosixPath(name).suffix.lower() for name in names)
    parts = []
    for suffix, count in counts.most_common(SHOWN_SUFFIXES):
        plugin = f" (to read them: {install_extra('heif')})" if suffix in HEIF else ""
        parts.append(f"{count:,} {suffix or 'without suffix'}{plugin}")
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(SHOWN_SUFFIXES))
    return ", ".join(parts) + (f" and {rest:,} of other kinds" if rest else "")
