"""The plan of a prepared data set, and the check that the output folder is free for it."""

import dataclasses
import json
import math
from typing import Any

import PIL
from etils import epath

from sagan_jax.data.color import VERSION
from sagan_jax.data.encoded import EncodedImages
from sagan_jax.data.manifest import MANIFEST, UNFINISHED, read_manifest
from sagan_jax.errors import InputError
from sagan_jax.runtime.documents import read_document
from sagan_jax.runtime.storage import remove_partial, write_atomic

SHARD_BYTES = 128 << 20  # within the limits below
MIN_SHARDS = 16  # so that all cores have work, and an interruption loses little
MAX_SHARDS = 128  # since training keeps them all open
MIN_SHARD_IMAGES = 256  # unless the data set is smaller


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that determines the bytes of a prepared data set.

    Attributes:
      source: as given on the command line.
      identity: see `EncodedImages.identity`.
      num_images: files to read, including unreadable ones.
      class_names: one per label.
      resolution, crop, filter: see `resize.square_rgb`.
      pillow: version of the library that decodes and resizes.
      conversion: version of the rules by which pixels become sRGB.
    """

    source: str
    identity: str
    num_images: int
    class_names: tuple[str, ...]
    resolution: int
    crop: str
    filter: str
    pillow: str = PIL.__version__
    conversion: int = VERSION

    @property
    def image_bytes(self) -> int:
        """Returns the bytes of one record."""
        return self.resolution**2 * 3

    @property
    def num_shards(self) -> int:
        """Returns the number of shards, which depends only on the data, so that the files are equal on any machine."""
        by_bytes = math.ceil(self.num_images * self.image_bytes / SHARD_BYTES)
        by_images = math.ceil(self.num_images / MIN_SHARD_IMAGES)
        return min(max(by_bytes, MIN_SHARDS), MAX_SHARDS, by_images)

    @property
    def disk_bytes(self) -> int:
        """Estimates the bytes of all files; a record takes some 100 bytes besides its image."""
        return self.num_images * (self.image_bytes + 128) + (1 << 20)

    def shard_file(self, index: int) -> str:
        """Returns the file name of a shard."""
        return f"images-{index:05}-of-{self.num_shards:05}.array_record"

    def report_file(self, index: int) -> str:
        """Returns the name of the report that marks a shard as complete; removed when all are."""
        return f"images-{index:05}-of-{self.num_shards:05}.json"


def make_plan(images: EncodedImages, resolution: int, crop: str, filter_name: str) -> Plan:
    """Makes the plan for a listing of images."""
    return Plan(images.name, images.identity(), len(images), images.class_names, resolution, crop, filter_name)


def claim(out: epath.Path, plan: Plan) -> bool:
    """Makes the output folder and marks it as this plan's.

    Returns:
      Whether it already holds the complete data set.

    Raises:
      InputError: the folder holds something else, or cannot be written to.
    """
    settings = json.loads(json.dumps(dataclasses.asdict(plan)))
    if (out / MANIFEST).exists():
        _check_finished(out, plan)
        return True
    if (out / UNFINISHED).exists():
        found = read_document(out / UNFINISHED, dict[str, Any], "delete the folder or choose another")
        _check_same(out, found, settings, "was begun")
        return False
    remove_partial(out)
    if out.exists() and any(out.iterdir()):
        wrong = "is not empty and holds no prepared data set"
        raise InputError(wrong, field="--out", value=out, remedy="choose a new folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / UNFINISHED, (json.dumps(settings, indent=1) + "\n").encode())
    except OSError as error:
        wrong = f"cannot be written to ({error.strerror or error})"
        raise InputError(wrong, field="--out", value=out, remedy="choose another") from error
    return False


def _check_finished(out: epath.Path, plan: Plan) -> None:
    found = dataclasses.asdict(read_manifest(out))
    same = ("source", "class_names", "resolution", "crop", "filter", "identity")
    wanted = {name: getattr(plan, name) for name in same}
    _check_same(out, found, wanted, "was made")


def _check_same(out: epath.Path, found: dict[str, object], wanted: dict[str, object], was: str) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            shown = [str(x) if len(str(x)) < 60 else f"{str(x)[:57]}..." for x in (found.get(name), value)]
            raise InputError(
                f"holds a data set that {was} with {name} = {shown[0]} rather than {shown[1]}",
                field="--out",
                value=out,
                remedy="choose another folder, or delete this one",
            )
