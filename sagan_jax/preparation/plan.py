"""What is to be made of which images, and whether the output folder is free for it."""

import dataclasses
import json
import math

import PIL
from etils import epath

from sagan_jax.data.encoded import EncodedImages
from sagan_jax.data.manifest import MANIFEST, UNFINISHED, read_manifest
from sagan_jax.errors import InputError
from sagan_jax.runtime.storage import remove_partial, write_atomic

SHARD_BYTES = 128 << 20  # of a shard, if that makes neither too few nor too many
FEWEST_SHARDS = 16  # so that all cores have work and little is lost when killed
MOST_SHARDS = 128  # since training keeps them all open
SMALLEST_SHARD = 256  # images, unless the data set is smaller


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides about the bytes of a prepared data set.

    Attributes:
      source: as it was given.
      identity: of the listing of images and labels.
      num_images: files to read, broken ones included.
      class_names: one per label.
      resolution, crop, filter: see `resize.square_rgb`.
      pillow: version of the library that decodes and resizes.
    """

    source: str
    identity: str
    num_images: int
    class_names: tuple[str, ...]
    resolution: int
    crop: str
    filter: str
    pillow: str = PIL.__version__

    @property
    def image_bytes(self) -> int:
        """Bytes of one record."""
        return self.resolution**2 * 3

    @property
    def num_shards(self) -> int:
        """Depends on the data alone, so that the files are the same on any machine."""
        wanted = math.ceil(self.num_images * self.image_bytes / SHARD_BYTES)
        at_most = math.ceil(self.num_images / SMALLEST_SHARD)
        return min(max(wanted, FEWEST_SHARDS), MOST_SHARDS, at_most)

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files together; a record has some 100 bytes besides its image."""
        return self.num_images * (self.image_bytes + 128) + (1 << 20)

    def shard_file(self, index: int) -> str:
        """Name of a shard."""
        return f"images-{index:05}-of-{self.num_shards:05}.array_record"

    def report_file(self, index: int) -> str:
        """Name of the file that says that a shard is whole; gone when all are."""
        return f"images-{index:05}-of-{self.num_shards:05}.json"


def make_plan(images: EncodedImages, resolution: int, crop: str, filter_name: str) -> Plan:
    """The plan for a listing of images."""
    return Plan(images.name, images.identity(), len(images), images.class_names, resolution, crop, filter_name)


def claim(out: epath.Path, plan: Plan) -> bool:
    """Makes the output folder this plan's.

    Returns:
      Whether the data set is there already, whole.

    Raises:
      InputError: the folder holds something else, or cannot be written to.
    """
    settings = json.loads(json.dumps(dataclasses.asdict(plan)))
    if (out / MANIFEST).exists():
        _check_finished(out, plan)
        return True
    if (out / UNFINISHED).exists():
        try:
            found = dict(json.loads((out / UNFINISHED).read_text()))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{out / UNFINISHED} is damaged ({error}): delete the folder or choose another."
            ) from error
        _check_same(out, found, settings, "was begun")
        return False
    remove_partial(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out={out} is not empty and holds no prepared data set: choose a new folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / UNFINISHED, (json.dumps(settings, indent=1) + "\n").encode())
    except OSError as error:
        raise InputError(f"--out={out} cannot be written to ({error.strerror or error}): choose another.") from error
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
                f"--out={out} holds a data set that {was} with {name} = {shown[0]} rather than {shown[1]}:"
                " choose another folder, or delete this one."
            )
