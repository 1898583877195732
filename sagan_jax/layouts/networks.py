"""Converts the networks in another program's file: architecture, parameters and moments by this package's names."""

import re

import numpy as np

from sagan_jax.layouts.halving import BlockShape, sides
from sagan_jax.layouts.layout import Layout, Network
from sagan_jax.layouts.places import discriminator_prefix, generator_prefix, left_out
from sagan_jax.layouts.stored import Stored, tensorflow_kernel, torch_kernel
from sagan_jax.models.architecture import SEED_RESOLUTION, Architecture, check_architecture

Arrays = dict[str, np.ndarray]


class Importer:
    """Converts one network after the other.

    Args:
      layout: of the file.
      stored: the arrays of the file.

    Attributes:
      notes: sentences on what was assumed or left out.
    """

    def __init__(self, layout: Layout, stored: Stored):
        self._layout, self._stored = layout, stored
        self._prefix = generator_prefix(layout, stored)
        self._prefixes = [self._prefix]
        self.notes: list[str] = []

    def generator(self) -> tuple[Architecture, Arrays, Arrays]:
        """Returns the generator's architecture, parameters and moments. Raises ValueError if ours cannot express it."""
        layout, network = self._layout, self._layout.generator
        params: Arrays = {}
        moments: Arrays = {}
        kernel = self._kernel(network.dense, "dense")
        seeds = SEED_RESOLUTION**2
        widths, resolutions, attention = [kernel.shape[1] // seeds], [SEED_RESOLUTION], []
        params["dense/kernel"], params["dense/bias"] = (
            value if layout.tensorflow else self._channels_last(value, seeds)
            for value in (kernel, self._bias(network.dense, "dense")[None])
        )
        params["dense/bias"] = params["dense/bias"][0]
        for part in self._parts(network):
            if self._is_attention(part):
                self._check_first(resolutions)
                attention.append(resolutions[-1])
                params |= self._attention(part, f"attention_{resolutions[-1]}")
                continue
            resolutions.append(2 * resolutions[-1])
            ours = f"block_{resolutions[-1]}"
            params |= self._convolutions(part, network, ours)
            widths.append(params[f"{ours}/conv_1/kernel"].shape[-1])
            for norm in ("norm_0", "norm_1"):
                theirs = f"{self._prefix}{part}{self._dot}{getattr(network.block, norm)}"
                params[f"{ours}/{norm}/scale"], params[f"{ours}/{norm}/bias"] = layout.tables(self._stored, theirs)
                moments |= self._moments(theirs, f"{ours}/{norm}", layout.moments[0])
        params["norm/scale"], params["norm/bias"] = (
            self._stored.take(f"{self._prefix}{network.norm}{name}", 1) for name in layout.affine
        )
        moments |= self._moments(self._prefix + network.norm, "norm", layout.moments[1])
        kernel, bias = self._kernel(network.to_image, "conv"), self._bias(network.to_image, "conv")
        flip = slice(None, None, -1 if layout.bgr else 1)
        params["to_image/kernel"], params["to_image/bias"] = kernel[..., flip], bias[flip]
        architecture = Architecture(tuple(resolutions), tuple(widths), tuple(attention))
        check_architecture(architecture, first=SEED_RESOLUTION)
        return architecture, params, moments

    def discriminator(self, resolution: int, final: int | None) -> tuple[Architecture | None, Arrays | None]:
        """Returns the discriminator's architecture and parameters, or (None, None) where the file has none.

        Args:
          resolution: side of the images.
          final: side of the last feature map, or None if nobody said; see `sides`.
        """
        network, prefix = self._layout.discriminator, discriminator_prefix(self._layout, self._stored)
        if prefix is None:
            return None, None
        self._prefix = prefix
        self._prefixes.append(prefix)
        params: Arrays = {}
        blocks: list[BlockShape] = []
        attends: list[tuple[str, int]] = []  # names of attention, each with the number of the blocks before it
        for part in (*network.first, *self._parts(network)):
            if self._is_attention(part):
                attends.append((part, len(blocks)))
                continue
            ours = f"block_{len(blocks)}"
            params |= self._convolutions(part, network, ours)
            first, last = params[f"{ours}/conv_0/kernel"].shape[2], params[f"{ours}/conv_1/kernel"].shape[3]
            blocks.append(BlockShape(first, last, f"{ours}/shortcut/kernel" in params))
        resolutions, assumed = sides(blocks, resolution, final)
        self.notes += [assumed] if assumed else []
        attention = []
        for part, before in attends:
            found = [resolution, *resolutions[:before]]
            self._check_first(found)
            attention.append(found[-1])
            params |= self._attention(part, f"attention_{found[-1]}")
        if self._layout.bgr:
            for layer in ("conv_0", "shortcut"):
                params[f"block_0/{layer}/kernel"] = params[f"block_0/{layer}/kernel"][:, :, ::-1]
        params["logit/kernel"] = self._kernel(network.dense, "dense")
        params["logit/bias"] = self._bias(network.dense, "dense", size=1)
        params["embedding/kernel"] = self._kernel(network.embedding, "embedding")
        widths = tuple(block.out_channels for block in blocks)
        architecture = Architecture(resolutions, widths, tuple(attention))
        check_architecture(architecture, first=resolution // 2)
        return architecture, params

    def check_all_taken(self) -> None:
        """Notes which arrays belong to neither network. Raises InputError if one of a network was not taken."""
        outside = left_out(self._stored, self._prefixes)
        self._stored.check_all_taken(self._layout.ignored, outside)
        outside = [name for name in outside if not any(re.fullmatch(p, name) for p in self._layout.ignored)]
        if outside:
            self.notes.append(
                f"{len(outside):,} arrays belong to neither network and were left out, such as {outside[0]}"
            )

    @property
    def _dot(self) -> str:
        return "/" if self._layout.tensorflow else "."

    def _parts(self, network: Network) -> list[str]:
        """Returns the names of blocks and attention, in the order in which an image passes them."""
        pattern = re.compile(re.escape(self._prefix) + f"({network.parts})" + re.escape(self._dot))
        matches = [match for match in map(pattern.match, self._stored.names()) if match]
        parts = sorted({match[1] for match in matches}, key=lambda part: [int(n) for n in re.findall(r"\d+", part)])
        if network.attention and self._is_attention(network.attention):
            query = self._kernel(f"{network.attention}{self._dot}{self._layout.attention.query}", "conv")
            last = [f"{part}{self._dot}{network.block.conv_1}" for part in (*network.first, *parts)]
            place = [self._kernel(layer, "conv").shape[-1] for layer in last].index(query.shape[2])
            place += 1 - len(network.first)
            return [*parts[:place], network.attention, *parts[place:]]
        return parts

    def _is_attention(self, part: str) -> bool:
        return self._stored.has(f"{self._prefix}{part}{self._dot}{self._layout.attention.gamma}")

    def _check_first(self, resolutions: list[int]) -> None:
        if resolutions[-2:-1] == resolutions[-1:]:
            raise ValueError(f"attention after the second block at {resolutions[-1]} px")

    def _attention(self, part: str, ours: str) -> Arrays:
        names = self._layout.attention
        params = {
            f"{ours}/{layer}/kernel": self._kernel(f"{part}{self._dot}{getattr(names, layer)}", "conv")
            for layer in ("query", "key", "value", "output")
        }
        gamma = self._stored.take(f"{self._prefix}{part}{self._dot}{names.gamma}")
        return params | {f"{ours}/gamma": gamma.reshape(())}

    def _convolutions(self, part: str, network: Network, ours: str) -> Arrays:
        params = {}
        for layer in ("conv_0", "conv_1", "shortcut"):
            theirs = f"{part}{self._dot}{getattr(network.block, layer)}"
            if layer == "shortcut" and not self._has_layer(theirs):
                continue
            params[f"{ours}/{layer}/kernel"] = self._kernel(theirs, "conv")
            params[f"{ours}/{layer}/bias"] = self._bias(theirs, "conv")
        return params

    def _has_layer(self, layer: str) -> bool:
        return any(name.startswith(self._prefix + layer + self._dot) for name in self._stored.names())

    def _moments(self, theirs: str, ours: str, names: tuple[str, str]) -> Arrays:
        mean, var = (self._stored.take(theirs + name).reshape(-1) for name in names)
        return {f"{ours}/mean": mean, f"{ours}/var": var}

    def _kernel(self, layer: str, kind: str) -> np.ndarray:
        """Returns a normalised kernel: "conv" [h, w, in, out], "dense" [in, out] or "embedding" [classes, C]."""
        layer = self._prefix + layer
        if self._layout.tensorflow:
            name = {"conv": "w", "dense": "Matrix", "embedding": "embedding_map"}[kind]
            value = tensorflow_kernel(self._stored, layer, name, transposed=kind == "embedding")
        else:
            value = torch_kernel(self._stored, layer)
        if value.ndim != {"conv": 4, "dense": 2, "embedding": 2}[kind]:
            raise ValueError(f"{layer} has the shape {value.shape}")
        if self._layout.tensorflow:
            return value
        return value.transpose(2, 3, 1, 0) if kind == "conv" else value.T if kind == "dense" else value

    def _bias(self, layer: str, kind: str, size: int = 0) -> np.ndarray:
        """Returns a layer's bias; zeros of this size where the file has none and a size is given."""
        tensorflow = {"conv": "/biases", "dense": "/bias"}[kind]
        name = f"{self._prefix}{layer}" + (tensorflow if self._layout.tensorflow else ".bias")
        return np.zeros(size) if size and not self._stored.has(name) else self._stored.take(name, 1)

    @staticmethod
    def _channels_last(value: np.ndarray, seeds: int) -> np.ndarray:
        """Reorders [.., C * 16], channels first as in torch, to [.., 16 * C]."""
        return value.reshape(len(value), -1, seeds).swapaxes(1, 2).reshape(value.shape)
