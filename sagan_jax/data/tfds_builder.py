"""Opens a TFDS data set by its name, and says why where that fails."""

import contextlib
import logging
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds

from sagan_jax.errors import InputError
from sagan_jax.extras import install_extra
from sagan_jax.runtime.user_paths import user_path

FILE_FORMATS = (tfds.core.FileFormat.ARRAY_RECORD, tfds.core.FileFormat.TFRECORD)
SHOWN = 10  # versions and configurations of a data set


def open_builder(name: str, split: str, data_dir: str) -> tfds.core.DatasetBuilder:
    """Opens a data set that has images in the split.

    Args:
      name, split, data_dir: see `TfdsImages`.

    Raises:
      InputError: the name, its version or the split is unknown, or the data are not prepared.
    """
    builder = _prepared_builder(name, data_dir)
    try:
        num_images = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError) as error:
        splits = ", ".join(
            f"{part} ({info.num_examples:,} images)" for part, info in sorted(builder.info.splits.items())
        )
        wrong = f"cannot be taken from tfds:{name} ({_first_sentence(error)})"
        raise InputError(wrong, field="data.split", value=split, remedy=f"it has {splits}") from error
    if num_images < 1:
        wrong = f"of tfds:{name} has no images"
        raise InputError(wrong, field="data.split", value=split, remedy="choose a larger part")
    if builder.info.file_format not in FILE_FORMATS:
        stored = builder.info.file_format.value
        raise source_error(name, f"is stored as {stored}", "prepare it with file_format='array_record'")
    return builder


def source_error(name: str, problem: str, remedy: str) -> InputError:
    """Returns the error that names a data set as the config does."""
    return InputError(problem, field="data.source", value=f"tfds:{name}", remedy=remedy)


def _prepared_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
    where = data_dir or tfds.core.constants.DATA_DIR
    remedy = (
        f"prepare it with: python -c \"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{where}',"
        f" file_format='array_record').download_and_prepare()\" (needs {install_extra('tfds')})"
    )
    if name.startswith("imagenet2012"):
        remedy += (
            f", after putting ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org into"
            f" {where}/downloads/manual"
        )
    try:
        with _quiet_absl():
            builder = tfds.builder(name, data_dir=where)
    except Exception as error:  # damaged JSON has its own kinds, and so has each file system
        there = _prepared_parts(name, where)
        if isinstance(error, tfds.core.registered.DatasetNotFoundError):
            if there:
                problem = f": {where} has it only as {there}"
                raise source_error(name, problem, "check version and configuration") from error
            raise source_error(name, ": TFDS knows no data set of this name", "check it") from error
        raise source_error(name, f"cannot be opened ({_first_sentence(error)})", "check name and version") from error
    if not builder.info.splits:
        if there := _prepared_parts(name, where):
            problem = f": {where} has it only as {there}, but TFDS's is of version {builder.version}"
            raise source_error(name, problem, f"give one of these, or {remedy}")
        raise source_error(name, f": there is no prepared data in {where}", remedy)
    return builder


def _prepared_parts(name: str, where: str) -> str:
    """Returns what is prepared under the name of a data set, without its version: "cifar10:3.0.0"; may be empty."""
    base = re.split("[:/]", name)[0]
    folder = user_path(where) / base
    try:
        # Of a version, and of a version of a configuration; a bucket knows no deeper pattern.
        infos = sorted(info for depth in ("*", "*/*") for info in folder.glob(f"{depth}/features.json"))
    except OSError:
        return ""
    parts = [info.parent.relative_to(folder).parts for info in infos]
    shown = [f"tfds:{'/'.join((base, *part[:-1]))}:{part[-1]}" for part in parts if part]
    return ", ".join(shown[:SHOWN]) + (", ..." if len(shown) > SHOWN else "")


def _first_sentence(error: Exception) -> str:
    """Returns TFDS's reason without the call that it repeats and the hints that follow."""
    reason = re.sub('^Failed to construct dataset .*?}": ', "", str(error).partition("\n")[0].strip("'\""))
    return re.split(r"\. (?:Here are|See format|Should be)", reason)[0].rstrip(".: ")


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
