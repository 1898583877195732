"""TensorFlow Datasets by name: ArrayRecord data by random access, TFRecord data as a stream.

Reading ArrayRecord needs no TensorFlow; reading TFRecord does. Images are taken out of
the records undecoded, so both kinds go through the same decoder, crop and resize.
"""

import collections
import concurrent.futures
import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from sagan_jax.data.transforms import UNREADABLE, square_rgb
from sagan_jax.errors import InputError

SHUFFLE_BUFFER = 10_000  # undecoded images a stream shuffles within, per process


def open_tfds(name: str, split: str, data_dir: str, resolution: int) -> "TfdsArrays | TfdsStream":
    """The split of a prepared TFDS data set.

    Args:
      name: such as "cifar10" or "imagenet2012:5.1.0".
      split: such as "train" or "train[:90%]".
      data_dir: where TFDS data lies; empty for TFDS's default.
      resolution: side of the images to make.

    Raises:
      InputError: unknown name or split, data not prepared, no image in its records, or a
        TFRecord data set where TensorFlow is not installed.
    """
    builder = _prepared_builder(name, data_dir)
    field = f"data.source = 'tfds:{name}'"
    try:
        num_images = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError) as error:
        splits = ", ".join(sorted(builder.info.splits))
        raise InputError(f"data.split = {split!r} is not in tfds:{name}, which has {splits}.") from error
    if not num_images:
        raise InputError(f"data.split = {split!r} of tfds:{name} has no images: choose a larger part.")
    if "image" not in builder.info.features:
        fields = ", ".join(sorted(builder.info.features))
        raise InputError(f"{field}: its records have {fields}, but no 'image': choose a data set of images.")
    match builder.info.file_format:
        case tfds.core.FileFormat.ARRAY_RECORD:
            return TfdsArrays(builder, name, split, resolution)
        case tfds.core.FileFormat.TFRECORD:
            return TfdsStream(builder, name, split, resolution)
        case other:
            raise InputError(f"{field} is stored as {other.value}: prepare it with file_format='array_record'.")


def _prepared_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
    where = data_dir or tfds.core.constants.DATA_DIR
    remedy = (
        f"prepare it with: python -c \"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{where}',"
        " file_format='array_record').download_and_prepare()\" (needs pip install 'sagan_jax[tfds]')"
    )
    if name.startswith("imagenet2012"):
        remedy += (
            f", after putting ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org into"
            f" {where}/downloads/manual"
        )
    try:
        with _quiet_absl():
            builder = tfds.builder(name, data_dir=where)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise InputError(f"data.source = 'tfds:{name}': TFDS knows no data set of this name.") from error
    except (AssertionError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"data.source = 'tfds:{name}' cannot be opened ({reason}): check name and version.") from error
    if not builder.info.splits:
        raise InputError(f"data.source = 'tfds:{name}': there is no prepared data in {where}; {remedy}.")
    return builder


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Silences TFDS's warning about an unprepared folder, which our own error says better."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _TfdsSplit:
    """What both kinds of TFDS data share: names, size, and decoding one record."""

    def __init__(self, builder: tfds.core.DatasetBuilder, name: str, split: str, resolution: int):
        self.name = f"tfds:{name} {builder.info.version} {split}"
        self.builder = builder
        self.split = split
        self.resolution = resolution
        self.num_images = builder.info.splits[split].num_examples
        label = dict(builder.info.features).get("label")
        self.class_names = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ("all",)
        self.decoders = {"image": tfds.decode.SkipDecoding()}

    def __len__(self) -> int:
        return int(self.num_images)

    def decode(self, record: dict[str, Any]) -> tuple[np.ndarray, int]:
        """See `ImageSource.load`."""
        label = int(record["label"]) if len(self.class_names) > 1 else 0
        try:
            with Image.open(io.BytesIO(record["image"])) as image:
                return square_rgb(image, self.resolution), label
        except UNREADABLE as error:
            raise InputError(
                f"{self.name} has an unreadable image of class {label} ({error}): prepare it again."
            ) from error


class TfdsArrays(_TfdsSplit):
    """An `ImageSource` over ArrayRecord files."""

    def __init__(self, builder: tfds.core.DatasetBuilder, name: str, split: str, resolution: int):
        super().__init__(builder, name, split, resolution)
        self.records = builder.as_data_source(split=split, decoders=self.decoders)

    def load(self, index: int) -> tuple[np.ndarray, int]:
        """See `ImageSource.load`."""
        return self.decode(self.records[index])


class TfdsStream(_TfdsSplit):
    """An `ImageStream` over TFRecord files; each process reads its own even share of the split.

    The order of an epoch is a function of (seed, epoch, number of processes): files are
    shuffled, then records within a buffer of SHUFFLE_BUFFER.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, name: str, split: str, resolution: int):
        super().__init__(builder, name, split, resolution)
        try:
            import tensorflow  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"data.source = 'tfds:{name}': {builder.data_dir} has TFRecord files, which need TensorFlow:"
                " pip install 'sagan_jax[tfds]', or prepare them with file_format='array_record'."
            ) from error
        self.share = tfds.even_splits(split, jax.process_count())[jax.process_index()]
        self.share_size = builder.info.splits[self.share].num_examples

    def read(self, seed: int, first_image: int, threads: int, ahead: int) -> Iterator[tuple[np.ndarray, int]]:
        """See `ImageStream.read`."""
        return _map_ahead(self.decode, self._records(seed, first_image), threads, ahead)

    def _records(self, seed: int, first_image: int) -> Iterator[dict[str, Any]]:
        epoch, offset = divmod(first_image, self.share_size)
        while True:
            epoch_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
            read_config = tfds.ReadConfig(shuffle_seed=epoch_seed, try_autocache=False)
            records = self.builder.as_dataset(
                split=self.share, shuffle_files=True, decoders=self.decoders, read_config=read_config
            )
            # Skipped records are shuffled but never decoded.
            records = records.shuffle(min(SHUFFLE_BUFFER, self.share_size), seed=epoch_seed).skip(offset).prefetch(256)
            yield from records.as_numpy_iterator()
            epoch, offset = epoch + 1, 0


def _map_ahead(function: Callable[[Any], Any], items: Iterator[Any], threads: int, ahead: int) -> Iterator[Any]:
    """function(item) for each item, in order, computed up to `ahead` items ahead by several threads."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
