"""TensorFlow Datasets by name: ArrayRecord data by random access, TFRecord data as a stream.

Reading ArrayRecord needs no TensorFlow; reading TFRecord does. Images leave the records
encoded, so both kinds share decoder, crop and resize with image files.
"""

import collections
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sagan_jax.data.encoded import Decoded, EncodedImage, decode
from sagan_jax.data.source import ONE_CLASS
from sagan_jax.errors import InputError

FILE_FORMATS = (tfds.core.FileFormat.ARRAY_RECORD, tfds.core.FileFormat.TFRECORD)
SHUFFLE_BUFFER = 10_000  # encoded images in the buffer of a shuffled stream, per process


def open_tfds(name: str, split: str, data_dir: str, resolution: int) -> "Decoded | TfdsStream":
    """Opens a split of a TFDS data set: an `ImageSource` over ArrayRecord data, an `ImageStream` over TFRecord data.

    Args:
      name, split, data_dir: see `TfdsImages`.
      resolution: side in pixels of the images.

    Raises:
      InputError: see `TfdsImages`.
    """
    images = TfdsImages(name, split, data_dir)
    if not images.random_access:
        return TfdsStream(images, resolution)
    records = images.records(split)
    return Decoded(len(images), lambda i: images.encoded(records[i], i), resolution, images.name, images.class_names)


def _checked_builder(name: str, split: str, data_dir: str) -> tfds.core.DatasetBuilder:
    builder = _prepared_builder(name, data_dir)
    try:
        num_images = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError) as error:
        splits = ", ".join(sorted(builder.info.splits))
        wrong = f"is not in tfds:{name}"
        raise InputError(wrong, field="data.split", value=split, remedy=f"it has {splits}") from error
    if not num_images:
        wrong = f"of tfds:{name} has no images"
        raise InputError(wrong, field="data.split", value=split, remedy="choose a larger part")
    if "image" not in builder.info.features:
        fields = ", ".join(sorted(builder.info.features))
        raise _source_error(name, f": its records have {fields}, but no 'image'", "choose a data set of images")
    if builder.info.file_format not in FILE_FORMATS:
        stored = builder.info.file_format.value
        raise _source_error(name, f"is stored as {stored}", "prepare it with file_format='array_record'")
    return builder


def _source_error(name: str, problem: str, remedy: str) -> InputError:
    return InputError(problem, field="data.source", value=f"tfds:{name}", remedy=remedy)


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
        raise _source_error(name, ": TFDS knows no data set of this name", "check it") from error
    except (AssertionError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise _source_error(name, f"cannot be opened ({reason})", "check name and version") from error
    if not builder.info.splits:
        raise _source_error(name, f": there is no prepared data in {where}", remedy)
    return builder


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Silences TFDS's warning about a folder that is not prepared, for which we raise an InputError."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class TfdsImages:
    """`EncodedImages` in a split of TFDS data on this machine or in a bucket.

    Args:
      name: such as "cifar10" or "imagenet2012:5.1.0".
      split: such as "train" or "train[:90%]".
      data_dir: folder of TFDS data; empty: TFDS's default.

    Raises:
      InputError: the name or split is unknown, the data are not prepared, their records have no image, or they are
        TFRecord files and TensorFlow is not installed.
    """

    remarks: tuple[str, ...] = ()

    def __init__(self, name: str, split: str, data_dir: str):
        self._arguments = (name, split, data_dir)
        self.builder = _checked_builder(name, split, data_dir)
        self.random_access = self.builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD
        if not self.random_access:
            _require_tensorflow(name, self.builder)
        self.name = f"tfds:{name} {self.builder.info.version} {split}"
        self.split = split
        self.num_images = self.builder.info.splits[split].num_examples
        label = dict(self.builder.info.features).get("label")
        self.class_names = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ONE_CLASS
        self.decoders = {"image": tfds.decode.SkipDecoding()}

    def __len__(self) -> int:
        return int(self.num_images)

    def __reduce__(self) -> tuple[Any, ...]:
        return TfdsImages, self._arguments  # not every builder can be pickled

    def records(self, split: Any) -> Any:
        """Returns the records of a part of the split in the order of the files; a sequence if `random_access`."""
        if self.random_access:
            return self.builder.as_data_source(split=split, decoders=self.decoders)
        in_order = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        records = self.builder.as_dataset(split=split, decoders=self.decoders, read_config=in_order)
        return records.as_numpy_iterator()

    def shard(self, index: int, count: int) -> Iterator[EncodedImage]:
        """See `EncodedImages.shard`."""
        for position, record in enumerate(self.records(tfds.even_splits(self.split, count)[index])):
            yield self.encoded(record, f"{position} of part {index + 1}/{count}")

    def identity(self) -> str:
        """See `EncodedImages.identity`. The version of the data set stands for its contents."""
        return f"{self.builder.info.full_name} {self.split} {len(self)} {self.builder.info.file_format.value}"

    def encoded(self, record: dict[str, Any], position: Any) -> EncodedImage:
        """Returns the image of a record; the position is for messages."""
        label = int(record["label"]) if len(self.class_names) > 1 else 0
        return EncodedImage(f"{self.name}, image {position}", label, lambda: record["image"])


class TfdsStream:
    """An `ImageStream` over TFRecord files; each process reads an even share of the split.

    The order of an epoch is a function of (seed, epoch, number of processes): files are
    shuffled, then records within a buffer of SHUFFLE_BUFFER.
    """

    def __init__(self, images: TfdsImages, resolution: int):
        self.name, self.class_names = images.name, images.class_names
        self.images = images
        self.resolution = resolution
        self.split = tfds.split_for_jax_process(images.split)
        self.split_size = images.builder.info.splits[self.split].num_examples

    def __len__(self) -> int:
        return len(self.images)

    def read(self, seed: int, first_image: int, threads: int, ahead: int) -> Iterator[tuple[np.ndarray, int]]:
        """See `ImageStream.read`."""
        return _map_stream(self._load, self._records(seed, first_image), threads, ahead)

    def _load(self, record: dict[str, Any]) -> tuple[np.ndarray, int]:
        file = self.images.encoded(record, f"of label {record.get('label')}")
        return decode(file, self.resolution), file.label

    def _records(self, seed: int, first_image: int) -> Iterator[dict[str, Any]]:
        epoch, offset = divmod(first_image, self.split_size)
        while True:
            epoch_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
            read_config = tfds.ReadConfig(shuffle_seed=epoch_seed, try_autocache=False)
            records = self.images.builder.as_dataset(
                split=self.split, shuffle_files=True, decoders=self.images.decoders, read_config=read_config
            )
            # Skipped records are shuffled but never decoded.
            records = records.shuffle(min(SHUFFLE_BUFFER, self.split_size), seed=epoch_seed).skip(offset).prefetch(256)
            yield from records.as_numpy_iterator()
            epoch, offset = epoch + 1, 0


def _require_tensorflow(name: str, builder: tfds.core.DatasetBuilder) -> None:
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        problem = f": {builder.data_dir} has TFRecord files, which need TensorFlow"
        remedy = "pip install 'sagan_jax[tfds]', or prepare them with file_format='array_record'"
        raise _source_error(name, problem, remedy) from error


def _map_stream(function: Callable[[Any], Any], items: Iterator[Any], threads: int, ahead: int) -> Iterator[Any]:
    """Does what `map_ahead` does, for items without random access, which Grain maps by one thread only."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
