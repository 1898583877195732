"""Takes arrays from another program's file, with kernels divided by the spectral norms stored beside them."""

import re
from collections.abc import Iterable

import numpy as np

from sagan_jax.errors import InputError

# By layer: the kernel, and the left and right singular vectors that its last update left, in torch's two forms.
TORCH_NORMS = (
    (".weight_orig", ".weight_u", ".weight_v"),
    (".parametrizations.weight.original", ".parametrizations.weight.0._u", ".parametrizations.weight.0._v"),
)


class Stored:
    """The arrays of a file by name; records which of them were taken.

    Args:
      arrays: by name.
      file: name of the file, for messages.
    """

    def __init__(self, arrays: dict[str, np.ndarray], file: str):
        self._arrays, self.file = arrays, file
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Returns whether there is an array of this name."""
        return name in self._arrays

    def names(self) -> list[str]:
        """Returns the names of all arrays."""
        return list(self._arrays)

    def take(self, name: str, *dimensions: int) -> np.ndarray:
        """Returns an array as float64.

        Args:
          name: of the array.
          dimensions: numbers of dimensions that it may have; none: any.

        Raises:
          InputError: it is missing, has other dimensions, or is not finite.
        """
        try:
            value = self._arrays[name]
        except KeyError as error:
            lacks = f"{self.file} lacks {name}: it is not complete, or of another layout than --layout says."
            raise InputError(lacks) from error
        self._taken.add(name)
        if dimensions and value.ndim not in dimensions:
            raise InputError(
                f"{name} in {self.file} has the shape {value.shape}, but {' or '.join(map(str, dimensions))} dimensions"
                " were expected: the file is damaged, or of another layout than --layout says."
            )
        value = value.astype(np.float64)
        if not np.isfinite(value).all():
            raise InputError(f"{name} in {self.file} is not finite: its training has diverged, or the file is damaged.")
        return value

    def check_all_taken(self, ignored: Iterable[str], outside: Iterable[str]) -> None:
        """Raises InputError if an array was not taken.

        Args:
          ignored: regular expressions for whole names that need not be taken.
          outside: names that need not be taken.
        """
        names = self._arrays.keys() - self._taken - set(outside)
        left = [name for name in names if not any(re.fullmatch(pattern, name) for pattern in ignored)]
        if left:
            shown = ", ".join(sorted(left)[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
            raise InputError(
                f"{self.file} has arrays that this layout does not know ({shown}): its networks have other layers than"
                " ours, or --layout is wrong."
            )


def torch_kernel(stored: Stored, layer: str) -> np.ndarray:
    """Returns the kernel that a torch layer applies in evaluation, [out, in, height, width] or [out, in].

    It is divided by u W v with the vectors of the last update (torch.nn.utils.spectral_norm), or by the result of one
    step of the power iteration from u (layers.py of BigGAN-PyTorch); it is not divided if the file has no vectors.
    """
    for kernel, left, right in TORCH_NORMS:
        if stored.has(layer + kernel):
            weight, u = stored.take(layer + kernel, 2, 4), stored.take(layer + left, 1)
            matrix = weight.reshape(len(weight), -1)
            v = stored.take(layer + right, 1) if stored.has(layer + right) else _unit(matrix.T @ u)
            return _divided(weight, u @ matrix @ v, layer, stored)
    weight = stored.take(f"{layer}.weight", 2, 4)
    if not stored.has(f"{layer}.u0"):
        return weight
    matrix = weight.reshape(len(weight), -1)
    return _divided(weight, _iterated(matrix, stored.take(f"{layer}.u0", 2)[0]), layer, stored)


def tensorflow_kernel(stored: Stored, layer: str, name: str, *, transposed: bool = False) -> np.ndarray:
    """Returns the kernel [..., out] of a layer of the authors' code, divided by one power iteration step from its u.

    Args:
      stored: the file.
      layer: scope of the variables.
      name: of the kernel in this scope.
      transposed: whether u belongs to the first dimension, as in embeddings.

    Reference: ops.py of brain-research/self-attention-gan, `spectral_normed_weight`.
    """
    weight = stored.take(f"{layer}/{name}", 2, 4)
    matrix = weight if transposed else weight.reshape(-1, weight.shape[-1]).T
    return _divided(weight, _iterated(matrix, stored.take(f"{layer}/u", 2)[0]), layer, stored)


def _divided(weight: np.ndarray, sigma: float, layer: str, stored: Stored) -> np.ndarray:
    """Divides a kernel by its singular value; one of zeros, which has none, stays as it is."""
    if not weight.any():
        return weight
    if not np.isfinite(sigma) or sigma == 0:
        raise InputError(
            f"the spectral norm of {layer} in {stored.file} is {sigma:g}, by the vectors stored beside it: they do not"
            " belong to its kernel, or the file is damaged."
        )
    return weight / sigma


def _iterated(matrix: np.ndarray, u: np.ndarray) -> float:
    """Estimates the largest singular value of [N, M] from u [N]."""
    along_v = matrix @ _unit(u @ matrix)
    return float(_unit(along_v) @ along_v)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
