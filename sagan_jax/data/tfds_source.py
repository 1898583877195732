"""TensorFlow Datasets by name: ArrayRecord data by random access, TFRecord data as a stream.

Reading ArrayRecord needs no TensorFlow; reading TFRecord does. Images leave the records
encoded, so both kinds share decoder, crop and resize with image files.
"""

import collections
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sagan_jax.data.encoded import SAMPLE, Decoded, EncodedImage, decode
from sagan_jax.data.tfds_builder import open_builder, source_error
from sagan_jax.data.tfds_features import IMAGE_KEY, LABEL_KEY, check_image, class_names_of
from sagan_jax.errors import InputError
from sagan_jax.extras import install_extra

SHUFFLE_BUFFER = 10_000  # encoded images in the buffer of a shuffled stream, per process


def open_tfds(images: "TfdsImages", resolution: int) -> "Decoded | TfdsStream":
    """Opens TFDS data for training: an `ImageSource` over ArrayRecord data, an `ImageStream` over TFRecord data.

    Args:
      images: the data.
      resolution: side in pixels of the images.
    """
    if not images.random_access:
        return TfdsStream(images, resolution)
    records = images.records(images.split)

    def file(index: int) -> EncodedImage:
        with images.damage_named():
            record = records[index]
        return images.encoded(record, index)

    return Decoded(
        len(images),
        file,
        resolution,
        images.name,
        images.class_names,
        remarks=images.remarks,
    )


class TfdsImages:
    """`EncodedImages` in a split of TFDS data on this machine or in a bucket.

    Args:
      name: such as "cifar10" or "imagenet2012:5.1.0".
      split: such as "train" or "train[:90%]".
      data_dir: folder of TFDS data; empty: TFDS's default.
      image_key, label_key: fields of the records with image and class; an empty label_key: images without classes.

    Raises:
      InputError: the name or split is unknown, the data are not prepared, image or class are missing or of another
        kind, or the data are TFRecord files and TensorFlow is not installed.
    """

    def __init__(self, name: str, split: str, data_dir: str, image_key: str = IMAGE_KEY, label_key: str = LABEL_KEY):
        self._arguments = (name, split, data_dir, image_key, label_key)
        self.builder = open_builder(name, split, data_dir)
        features = dict(self.builder.info.features)
        check_image(name, features, image_key)
        self.class_names = class_names_of(name, features, label_key)
        self.random_access = self.builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD
        if not self.random_access:
            _require_tensorflow(name, self.builder)
        self._image_key, self._label_key = image_key, label_key if label_key in features else ""
        usual = (image_key, label_key) == (IMAGE_KEY, LABEL_KEY)
        self._keys = "" if usual else f" {image_key} {label_key or '-'}"
        self.name = f"tfds:{name} {self.builder.info.version} {split}{self._keys}"
        self.split = split
        self.num_images = self.builder.info.splits[split].num_examples
        # Other images of a record are not needed, so they are not decoded either.
        pictures = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
        self.decoders = {key: tfds.decode.SkipDecoding() for key in pictures}
        self.remarks: tuple[str, ...] = ()
        if not self._label_key:
            self.remarks = (
                f"the records of tfds:{name} have {', '.join(sorted(features))}, none of them read as a class",
            )

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
        with self.damage_named():
            for position, record in enumerate(self.records(tfds.even_splits(self.split, count)[index])):
                yield self.encoded(record, f"{position} of part {index + 1}/{count}")

    @contextlib.contextmanager
    def damage_named(self) -> Iterator[None]:
        """Raises InputError for whatever goes wrong where records are read."""
        try:
            yield
        except Exception as error:  # TensorFlow and ArrayRecord have kinds of their own
            reason = str(error).partition("\n")[0]
            raise InputError(f"the records of {self.name} cannot be read ({reason}): prepare them again.") from error

    def identity(self) -> str:
        """See `EncodedImages.identity`. The version of the data set stands for its contents."""
        stored = self.builder.info.file_format.value
        return f"{self.builder.info.full_name} {self.split} {len(self)} {stored}{self._keys}"

    def encoded(self, record: dict[str, Any], position: Any) -> EncodedImage:
        """Returns the image of a record; the position is for messages."""
        label = int(record[self._label_key]) if self._label_key else 0
        return EncodedImage(f"{self.name}, image {position}", label, lambda: record[self._image_key])


class TfdsStream:
    """An `ImageStream` over TFRecord files; each process reads an even share of the split.

    The order of an epoch is a function of (seed, epoch, number of processes): files are
    shuffled, then records within a buffer of SHUFFLE_BUFFER.
    """

    def __init__(self, images: TfdsImages, resolution: int):
        self.name, self.class_names, self.remarks = images.name, images.class_names, images.remarks
        self.images = images
        self.resolution = resolution
        self.split = tfds.split_for_jax_process(images.split)
        self.split_size = images.builder.info.splits[self.split].num_examples

    def __len__(self) -> int:
        return len(self.images)

    def read(self, seed: int, first_image: int, threads: int, ahead: int) -> Iterator[tuple[np.ndarray, int]]:
        """See `ImageStream.read`."""
        return _map_stream(self._load, self._records(seed, first_image), threads, ahead)

    def sample(self) -> Sequence[EncodedImage]:
        """See `Sampled.sample`: the first ones in the order of the files, which TFDS shuffles when it writes them."""
        with self.images.damage_named():
            records = list(itertools.islice(self.images.records(self.images.split), SAMPLE))
        return [self.images.encoded(record, position) for position, record in enumerate(records)]

    def _load(self, record: dict[str, Any]) -> tuple[np.ndarray, int]:
        file = self.images.encoded(record, "of a stream")
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
            with self.images.damage_named():
                yield from records.as_numpy_iterator()
            epoch, offset = epoch + 1, 0


def _require_tensorflow(name: str, builder: tfds.core.DatasetBuilder) -> None:
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        problem = f": {builder.data_dir} has TFRecord files, which need TensorFlow"
        remedy = f"{install_extra('tfds')}, or prepare them with file_format='array_record'"
        raise source_error(name, problem, remedy) from error


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
