"""What one sees while a network learns: a sheet of samples, and what points of some of them attend to."""

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from sagan_jax.data.overview import class_examples, look_at
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.plain import plain_network
from sagan_jax.runtime.pictures import sample_sheet
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import put_global, replicated
from sagan_jax.runtime.workdir import ATTENTION, REAL, SAMPLES, image_file
from sagan_jax.runtime.writer import RunWriter
from sagan_jax.sampling.attention import AttentionMaps, attention_of, mean_distance, mean_entropy
from sagan_jax.sampling.attention_picture import attention_picture
from sagan_jax.sampling.model import compile_discrimination
from sagan_jax.sampling.sampler import Sampler, compile_normalization
from sagan_jax.training.advice import Adviser
from sagan_jax.training.signals import Signals
from sagan_jax.training.state import TrainState, Tree

ATTENTION_IMAGES = 4


class Gallery:
    """Draws the pictures of a run, always from the same latents.

    Args:
      config: of the run, with `model.num_classes` known.
      source: the data set, for class names and real images.
      sampler: of the run's generator.
      discriminator: of the run.
      signals, adviser: of the run.
      writer: receives the pictures.
    """

    def __init__(
        self,
        config: ConfigDict,
        source: ImageSource | ImageStream,
        sampler: Sampler,
        discriminator: Discriminator,
        signals: Signals,
        adviser: Adviser,
        writer: RunWriter,
    ):
        self._sampler = sampler
        self._writer, self._signals, self._adviser = writer, signals, adviser
        self._seed = config.seed
        self._every_steps = config.log.pictures_every_steps
        self._columns, key = config.log.sheet_columns, stream_key(config.seed, "sheet")
        if config.model.num_classes:
            rows = min(config.log.sheet_classes, config.model.num_classes)
            row_labels = np.linspace(0, config.model.num_classes - 1, rows).round().astype(np.int32)
            self._row_names = tuple(source.class_names[label] for label in row_labels)
            # One latent per column: down a column only the class changes.
            self._latents = np.tile(sampler.fixed_latents(self._columns, key), (rows, 1))
        else:
            rows = config.log.sheet_classes
            row_labels = np.zeros(rows, np.int32)
            self._row_names = ("",) * rows
            self._latents = sampler.fixed_latents(rows * self._columns, key)
        self._labels = np.repeat(row_labels, self._columns)
        self._source = source
        self._row_labels = row_labels
        self._discriminator = plain_network(discriminator)
        self._whole = replicated(sampler.mesh)
        self._normalize = compile_normalization(discriminator, sampler.mesh)
        self._discriminate = compile_discrimination(sampler.mesh)
        self._takes_histograms = writer.takes_histograms()
        self._real_spread = 0.0  # until the sheet of real images is drawn

    def draw_real(self) -> epath.Path | None:
        """Writes a sheet of real images with the rows of the sample sheets; None if the labels are not known."""
        look = look_at(self._source)
        if look is None:
            return None
        if any(self._row_names):
            images = class_examples(self._source, self._row_labels, self._columns)
        else:
            count = len(self._row_names) * self._columns
            images = look.load(np.linspace(0, len(look.labels) - 1, count).round().astype(int))
            images = images.reshape(len(self._row_names), self._columns, *images.shape[1:])
        self._real_spread = self._spread(images)
        return self._writer.write_image(0, REAL, sample_sheet(images, self._row_names, f"real: {self._source.name}"))

    def freeze(self, state: TrainState) -> Tree:
        """Returns the averaged generator's variables for sampling."""
        return self._sampler.freeze(state.ema_params, self._seed)

    def drawn(self, step: int) -> bool:
        """Returns whether the pictures of a step are there."""
        return all(image_file(self._writer.workdir, kind, step).exists() for kind in (SAMPLES, ATTENTION))

    def draw(self, step: int, state: TrainState, variables: Tree) -> tuple[epath.Path, epath.Path]:
        """Writes the sample sheet and the attention picture of a state and its frozen variables; returns their files.

        Every `log.pictures_every_steps`, metrics come with them: `sample_spread`, how much the images of a class differ
        beside how much its real ones do, and of each attention layer `g_entropy_32` in nats and `g_distance_32` in
        pixels of the image, and those of the discriminator on the same images. Writers that take histograms get D's
        logits of the samples and of the real images that `Signals` looks at.
        """
        images = self._sampler.images(variables, self._latents, self._labels)
        samples = self._draw_samples(step, images)
        attention, numbers = self._draw_attention(step, state, variables)
        if self._real_spread:
            rows = images.reshape(len(self._row_names), self._columns, *images.shape[1:])
            numbers["sample_spread"] = self._spread(rows) / self._real_spread
        if step % self._every_steps == 0:  # so that a run in parts has the rows of a whole one
            if numbers:
                self._writer.write_scalars_once(step, numbers)
                self._adviser.look(step, numbers)
            if self._takes_histograms:
                self._writer.write_histograms(step, self._signals.logits(state, images, self._labels))
        return samples, attention

    def _spread(self, rows: np.ndarray) -> float:
        """Computes how far images [R, N, H, W, 3] uint8 are from the mean image of their class, over all pixels."""
        groups = rows if any(self._row_names) else rows.reshape(1, -1, *rows.shape[2:])
        return float(np.sqrt(groups.astype(np.float32).var(axis=1).mean()))

    def _draw_samples(self, step: int, images: np.ndarray) -> epath.Path:
        grid = images.reshape(len(self._row_names), self._columns, *images.shape[1:])
        one_latent = " · each column is one latent" if any(self._row_names) else ""
        title = f"step {step:,} · averaged generator · not selected{one_latent}"
        return self._writer.write_image(step, SAMPLES, sample_sheet(grid, self._row_names, title))

    def _draw_attention(self, step: int, state: TrainState, variables: Tree) -> tuple[epath.Path, dict[str, float]]:
        first_column = slice(0, ATTENTION_IMAGES * self._columns, self._columns)
        latents, labels = self._latents[first_column], self._labels[first_column]
        images, maps = self._sampler.attention(variables, latents, labels)
        attention = attention_of("generator", maps, variables["params"])
        attention = attention.joined(self._discriminator_attention(state.discriminator.params, images, labels))
        numbers: dict[str, float] = {}
        for layer, weights in attention.maps.items():
            network, side = layer.split("_")
            numbers[f"{network[0]}_entropy_{side}"] = mean_entropy(weights)
            numbers[f"{network[0]}_distance_{side}"] = mean_distance(weights, images.shape[1])
        title = f"step {step:,} · what each marked point attends to"
        return self._writer.write_image(step, ATTENTION, attention_picture(images, attention, title)), numbers

    def _discriminator_attention(self, params: Tree, images: np.ndarray, labels: np.ndarray) -> AttentionMaps:
        """Computes the discriminator's on images [N, H, W, 3] uint8 with labels [N]."""
        params = self._normalize(params)
        inputs = put_global(self._whole, (images, labels))
        _, maps = jax.device_get(self._discriminate(self._discriminator, {"params": params}, *inputs))
        return attention_of("discriminator", maps, params)
