"""Reads files of weights: .npz, .safetensors, those of torch.save, and TensorFlow checkpoints."""

from pathlib import Path

import ml_dtypes
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.weights.torch_files import TorchFileError, read_torch_file

INDEX = ".index"  # of a TensorFlow checkpoint, which is named without it
TORCH_SUFFIXES = (".pth", ".pt", ".th", ".bin")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns all arrays of a file by name, bfloat16 as float32; nothing in the file is executed.

    Raises:
      InputError: there is no such file, its kind is unknown, or it is damaged.
    """
    weights = {
        name: value.astype(np.float32) if value.dtype == ml_dtypes.bfloat16 else value
        for name, value in _read(path).items()
    }
    for name, value in weights.items():
        if value.dtype.kind not in "fiub":
            raise InputError(f"the weights {path} are damaged: {name} is {value.dtype}, no numbers; get them again.")
    return weights


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        if path.suffix in TORCH_SUFFIXES:
            return read_torch_file(path)
        if path.suffix == INDEX or path.with_name(path.name + INDEX).exists():
            return _read_tensorflow_checkpoint(str(path).removesuffix(INDEX))
    except InputError:
        raise
    except TorchFileError as error:
        raise InputError(f"the weights {path} are refused: {error}.") from error
    except FileNotFoundError as error:
        raise InputError(f"there is no file of weights {path}: give the path of one.") from error
    except Exception as error:  # zipfile, zlib, numpy and safetensors have each errors of their own
        raise InputError(f"the weights {path} are damaged ({error}): get them again.") from error
    raise InputError(f"the weights {path} are of unknown kind: give a .npz, .safetensors, .pth, .pt, .th or .bin file.")


def _read_tensorflow_checkpoint(prefix: str) -> dict[str, np.ndarray]:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError(
            f"{prefix} is a TensorFlow checkpoint: pip install 'sagan_jax[tfds]', or bring its variables into an .npz"
            " with the same names."
        ) from error
    reader = tf.train.load_checkpoint(prefix)
    return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
