"""The arrays of another program's file: which were taken, and kernels divided by the spectral norms kept with them."""

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
    """Arrays by name, of which each is to be taken once.

    Args:
      arrays: of the file.
      file: its name, for messages.
    """

    def __init__(self, arrays: dict[str, np.ndarray], file: str):
        self._arrays, self.file = arrays, file
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._arrays

    def names(self) -> list[str]:
        """Of all arrays."""
        return list(self._arrays)

    def take(self, name: str, *dimensions: int) -> np.ndarray:
        """An array as float64.

        Args:
          name: of it.
          dimensions: numbers of dimensions that it may have; none given: any.

        Raises:
          InputError: it is missing, has other dimensions, or is not finite.
        """
        if name not in self._arrays:
            raise InputError(f"{self.file} lacks {name}: it is not complete, or of another layout than --layout says.")
        self._taken.add(name)
        if dimensions and self._arrays[name].ndim not in dimensions:
            raise InputError(
                f"{name} in {self.file} has the shape {self._arrays[name].shape}, but"
                f" {' or '.join(map(str, dimensions))} dimensions were expected: the file is damaged, or of another"
                " layout than --layout says."
            )
        value = self._arrays[name].astype(np.float64)
        if not np.isfinite(value).all():
            raise InputError(f"{name} in {self.file} is not finite: its training has diverged, or the file is damaged.")
        return value

    def check_all_taken(self, ignored: Iterable[str]) -> None:
        """Raises InputError if something is left that none of these patterns matches the whole name of."""
        left = [name for name in self._arrays.keys() - self._taken if not any(re.fullmatch(p, name) for p in ignored)]
        if left:
            shown = ", ".join(sorted(left)[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
            raise InputError(
                f"{self.file} has arrays that this layout does not know ({shown}): its networks have other layers than"
                " ours, or --layout is wrong."
            )


def torch_kernel(stored: Stored, layer: str) -> np.ndarray:
    """The kernel of a layer of a torch module as its evaluation applies it, [out, in, height, width] or [out, in].

    That is divided by u W v with the vectors of the last update (torch.nn.utils.spectral_norm), or by what one
    step of the power iteration from u gives (layers.py of BigGAN-PyTorch); as it is where the file keeps no vectors.
    """
    for kernel, left, right in TORCH_NORMS:
        if stored.has(layer + kernel):
            weight, u = stored.take(layer + kernel, 2, 4), stored.take(layer + left, 1)
            matrix = weight.reshape(len(weight), -1)
            v = stored.take(layer + right, 1) if stored.has(layer + right) else _unit(matrix.T @ u)
            return weight / (u @ matrix @ v)
    weight = stored.take(f"{layer}.weight", 2, 4)
    if not stored.has(f"{layer}.u0"):
        return weight
    matrix = weight.reshape(len(weight), -1)
    return weight / _iterated(matrix, stored.take(f"{layer}.u0", 2)[0])


def tensorflow_kernel(stored: Stored, layer: str, name: str, *, transposed: bool = False) -> np.ndarray:
    """The kernel of a layer of the authors' code, [..., out], divided by one step of the power iteration from its u.

    Args:
      stored: the file.
      layer: scope of the variables.
      name: of the kernel in it.
      transposed: whether the other dimension is the one that u belongs to, as in embeddings.

    Reference: ops.py of brain-research/self-attention-gan, `spectral_normed_weight`.
    """
    weight = stored.take(f"{layer}/{name}", 2, 4)
    matrix = weight if transposed else weight.reshape(-1, weight.shape[-1]).T
    return weight / _iterated(matrix, stored.take(f"{layer}/u", 2)[0])


def _iterated(matrix: np.ndarray, u: np.ndarray) -> float:
    """The estimate of the largest singular value of [N, M] from u [N]."""
    along_v = matrix @ _unit(u @ matrix)
    return float(_unit(along_v) @ along_v)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
