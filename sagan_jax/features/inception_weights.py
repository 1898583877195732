"""Finds or downloads the weights of the FID's Inception, and converts them from other programs' names."""

import functools
import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.metrics.inception import SIDE, Inception
from sagan_jax.runtime.storage import write_atomic
from sagan_jax.runtime.user_paths import local_path

# The TensorFlow graph of 2015-12-05 as the authors of pytorch-fid converted it.
URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
EPSILON = 1e-3  # of the batch normalisation, which is folded into the convolutions

STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
BLOCKS = {
    "mixed": "5b",
    "mixed_1": "5c",
    "mixed_2": "5d",
    "mixed_3": "6a",
    "mixed_4": "6b",
    "mixed_5": "6c",
    "mixed_6": "6d",
    "mixed_7": "6e",
    "mixed_8": "7a",
    "mixed_9": "7b",
    "mixed_10": "7c",
}
# Branches of the blocks of the PyTorch port by the towers of the TensorFlow graph; "#" counts the layers.
BRANCHES = {
    "5bcd": {"conv": "branch1x1", "tower": "branch5x5_#", "tower_1": "branch3x3dbl_#", "tower_2": "branch_pool"},
    "6a": {"conv": "branch3x3", "tower": "branch3x3dbl_#"},
    "6bcde": {"conv": "branch1x1", "tower": "branch7x7_#", "tower_1": "branch7x7dbl_#", "tower_2": "branch_pool"},
    "7a": {"tower": "branch3x3_#", "tower_1": "branch7x7x3_#"},
    "7bc": {"conv": "branch1x1", "tower": "branch3x3_#", "tower_1": "branch3x3dbl_#", "tower_2": "branch_pool"},
}
# The last layers of the last two blocks' towers, which fork.
FORKS = {"tower": "branch3x3_2", "tower_1": "branch3x3dbl_3"}


def find_weights(path: str) -> Path:
    """Returns the file that the user names, or the one in the cache, which is downloaded if missing.

    Raises:
      InputError: the download fails, or has a wrong SHA-256.
    """
    if path:
        return local_path(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sagan_jax"
    file = cache / URL.rpartition("/")[2]
    if not file.exists():
        data = _download(URL)
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)
    return file


def _download(url: str) -> bytes:
    print(f"downloading {url} (96 MB, once)", flush=True)
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            data = response.read()
    except (OSError, urllib.error.URLError) as error:
        raise InputError(
            f"the weights of Inception cannot be downloaded ({error}): fetch {url} where there is a network, and give"
            " the file with --weights=FILE (in training --config.eval.weights=FILE)."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise InputError(f"the download of {url} has the SHA-256 {found}, not {SHA256}: try again, or give a file.")
    return data


def inception_params(weights: dict[str, np.ndarray], deepest: str, path: Path) -> dict[str, Any]:
    """Converts arrays with TensorFlow's, pytorch-fid's or our own names to the parameters of `Inception(deepest)`.

    TensorFlow's (and ours): LAYER/weights or LAYER/kernel, height x width x in x out, and LAYER/bias, batch norm
    folded in. pytorch-fid's: LAYER.conv.weight, out x in x height x width, and LAYER.bn.*.

    Raises:
      InputError: an array is missing, of another shape, or not finite; the message names `path`.
    """
    ported = any(name.endswith(".bn.running_var") for name in weights)
    read = _read_ported if ported else _read_folded
    template = jax.eval_shape(Inception(deepest).init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))["params"]
    params: dict[str, Any] = {}
    for layer, arrays in template.items():
        try:
            found = read(weights, layer)
        except KeyError as error:
            raise InputError(
                f"the weights {path} lack {error.args[0]}, which the features of {deepest!r} need: give a whole file,"
                f" or a tap that it reaches{_reach(weights)}."
            ) from error
        params[layer] = {kind: found[kind] for kind in arrays}
        for kind, like in arrays.items():
            value = params[layer][kind]
            if value.shape != like.shape or not np.isfinite(value).all():
                raise InputError(
                    f"{layer} in the weights {path} is damaged: its {kind} has the shape {value.shape}, not"
                    f" {like.shape}, or is not finite."
                )
    return params


def _reach(weights: dict[str, np.ndarray]) -> str:
    return ", such as inception2015:768" if "mixed_7/conv/bias" in weights else ""


def _read_folded(weights: dict[str, np.ndarray], layer: str) -> dict[str, np.ndarray]:
    kernel = f"{layer}/kernel" if f"{layer}/kernel" in weights else f"{layer}/weights"
    found = {"kernel": weights[kernel].astype(np.float32)}
    if layer != "softmax":  # used without its bias
        found["bias"] = weights[f"{layer}/bias"].astype(np.float32)
    return found


def _read_ported(weights: dict[str, np.ndarray], layer: str) -> dict[str, np.ndarray]:
    if layer == "softmax":
        return {"kernel": weights["fc.weight"].astype(np.float32).T}
    name = torch_name(layer)
    kernel = weights[f"{name}.conv.weight"].astype(np.float64).transpose(2, 3, 1, 0)
    norm = functools.partial(_norm_array, weights, name)
    scale = norm("weight") / np.sqrt(norm("running_var") + EPSILON)
    bias = norm("bias") - norm("running_mean") * scale
    return {"kernel": (kernel * scale).astype(np.float32), "bias": bias.astype(np.float32)}


def _norm_array(weights: dict[str, np.ndarray], name: str, kind: str) -> np.ndarray:
    return weights[f"{name}.bn.{kind}"].astype(np.float64)


def torch_name(layer: str) -> str:
    """Returns the PyTorch port's name of a convolution that the TensorFlow graph calls `layer`."""
    if layer in STEM:
        return STEM[layer]
    block, *towers, conv = layer.split("/")
    number = int(conv.removeprefix("conv").removeprefix("_") or 0)
    port = BLOCKS[block]
    if towers[1:] == ["mixed"]:
        return f"Mixed_{port}.{FORKS[towers[0]]}{'ab'[number]}"
    branches = next(names for blocks, names in BRANCHES.items() if port[0] == blocks[0] and port[1] in blocks[1:])
    branch = branches[towers[0] if towers else conv]
    return f"Mixed_{port}.{branch.replace('#', str(number + 1))}"
