"""What is made with a model for people: single images, a sheet, an archive, interpolations, attention."""

import io
from collections.abc import Iterator

import numpy as np
from etils import epath

from sagan_jax.metrics.attention import attention_distance, attention_entropy
from sagan_jax.runtime.pictures import attention_picture, encoded_animation, encoded_png, sample_sheet
from sagan_jax.runtime.storage import write_whole
from sagan_jax.sampling.model import Model

SHEET_ROWS, SHEET_COLUMNS = 10, 10
SHOWN_FRAMES = 8  # of an interpolation's sheet
SMALLEST_MOVING = 96  # pixels; smaller images are enlarged in an animation


def images_of(model: Model, latents: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    """Images [H, W, 3] uint8, one after the other."""
    for images in model.sampler.batches(model.variables, latents, labels):
        yield from images


def write_images(model: Model, latents: np.ndarray, labels: np.ndarray, folder: epath.Path) -> list[epath.Path]:
    """A PNG file per image, named by its number and class; returns the files."""
    files = []
    for number, (image, label) in enumerate(zip(images_of(model, latents, labels), labels, strict=True)):
        files.append(folder / f"{number:06d}{_class_suffix(model, label)}.png")
        write_whole(files[-1], encoded_png(image))
    return files


def write_archive(model: Model, latents: np.ndarray, labels: np.ndarray, file: epath.Path) -> None:
    """An .npz with "images" [N, H, W, 3] uint8 and "labels" [N], which `sagan_jax.evaluate --fake` reads."""
    buffer = io.BytesIO()
    np.savez(buffer, images=model.sampler.images(model.variables, latents, labels), labels=labels)
    write_whole(file, buffer.getvalue())


def draw_sheet(model: Model, latents: np.ndarray, labels: np.ndarray, title: str) -> np.ndarray:
    """A sheet of the first images, a row per class where there are several of each; [height, width, 3] uint8."""
    classes = list(dict.fromkeys(labels.tolist()))[:SHEET_ROWS]
    columns = min(SHEET_COLUMNS, min(int(np.sum(labels == label)) for label in classes))
    if len(classes) > 1 and columns > 1:
        chosen = np.concatenate([np.flatnonzero(labels == label)[:columns] for label in classes])
        names = [model.card.class_names[label] for label in classes]
    else:
        columns = min(SHEET_COLUMNS, max(1, round(len(labels) ** 0.5)))
        rows = min(SHEET_ROWS, len(labels) // columns)
        chosen, names = np.arange(rows * columns), [""] * rows
    images = model.sampler.images(model.variables, latents[chosen], labels[chosen])
    return sample_sheet(images.reshape(len(names), columns, *images.shape[1:]), names, title)


def write_interpolation(frames: np.ndarray, names: list[str], title: str, folder: epath.Path, kind: str) -> list:
    """A sheet of some frames and an animation of all.

    Args:
      frames: [R, T, H, W, 3] uint8, R ways of T frames.
      names: R names of the ways.
      title: of the sheet.
      folder: for the files.
      kind: of the animation, "webp" or "gif".

    Returns:
      the files.
    """
    shown = np.linspace(0, frames.shape[1], SHOWN_FRAMES, endpoint=False).astype(int)
    sheet, animation = folder / "interpolation.png", folder / f"interpolation.{kind}"
    write_whole(sheet, encoded_png(sample_sheet(frames[:, shown], names, title)))
    columns = max(1, round(len(frames) ** 0.5))
    rows = -(-len(frames) // columns)
    blank = np.full((rows * columns - len(frames), *frames.shape[1:]), 250, np.uint8)
    grid = np.concatenate([frames, blank]).reshape(rows, columns, *frames.shape[1:])
    height, width = frames.shape[2:4]
    moving = grid.transpose(2, 0, 3, 1, 4, 5).reshape(frames.shape[1], rows * height, columns * width, 3)
    larger = max(1, SMALLEST_MOVING // height)
    moving = moving.repeat(larger, axis=1).repeat(larger, axis=2)
    write_whole(animation, encoded_animation(moving, kind))
    return [sheet, animation]


def write_attention(
    model: Model, latents: np.ndarray, labels: np.ndarray, title: str, folder: epath.Path
) -> tuple[epath.Path, list[str]]:
    """The attention picture of some images; returns its file and a line of numbers per layer."""
    images, maps = model.sampler.attention(model.variables, latents, labels)
    gates = {layer: float(model.variables["params"][layer]["gamma"]) for layer in maps}
    file = folder / "attention.png"
    write_whole(file, encoded_png(attention_picture(images, maps, gates, title)))
    lines = []
    for layer, weights in maps.items():
        entropy, most = attention_entropy(weights).mean(), np.log(weights.shape[-1])
        distance = attention_distance(weights, model.card.resolution).mean()
        lines.append(
            f"{layer}: gamma {gates[layer]:+.3f}, entropy {entropy:.2f} of at most {most:.2f} nats,"
            f" mean distance {distance:.1f} px"
        )
    return file, lines


def _class_suffix(model: Model, label: int) -> str:
    if not model.card.num_classes:
        return ""
    name = "".join(letter if letter.isalnum() else "_" for letter in model.card.class_names[label])
    return f"-{name[:40]}"
