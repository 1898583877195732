"""What is made with a model for people: single images, a sheet, interpolations, attention."""

import itertools

import numpy as np
from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.pictures import (
    attention_picture,
    encoded_animation,
    encoded_png,
    layer_caption,
    sample_sheet,
)
from sagan_jax.runtime.storage import write_atomic
from sagan_jax.sampling.attention import attention_of, mean_distance, mean_entropy
from sagan_jax.sampling.model import Model

SHEET_ROWS, SHEET_COLUMNS = 10, 10
SHOWN_FRAMES = 8  # of an interpolation's sheet
SMALLEST_MOVING = 96  # pixels; smaller images are enlarged in an animation


def next_folder(parent: epath.Path) -> epath.Path:
    """The first numbered folder in another one that no call has used yet; it is not made."""
    used = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()] if parent.is_dir() else []
    return parent / f"{max(used, default=0) + 1:03d}"


def write_images(model: Model, latents: np.ndarray, labels: np.ndarray, folder: epath.Path) -> list[epath.Path]:
    """A PNG file per image, named by its number and class; returns the files.

    Raises:
      InputError: the folder has images of another call, which would be mixed with these.
    """
    files = [folder / f"{number:06d}{_class_suffix(model, label)}.png" for number, label in enumerate(labels)]
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted({path.name for path in folder.glob("*.png")} - {file.name for file in files})
    if others:
        raise InputError(
            f"{folder} has images of another call (such as {others[0]}): choose another --out, or remove them first."
        )
    images = itertools.chain.from_iterable(model.batches(latents, labels))
    for file, image in zip(files, images, strict=True):
        write_atomic(file, encoded_png(image))
    return files


def draw_sheet(model: Model, latents: np.ndarray, labels: np.ndarray, title: str) -> np.ndarray:
    """A sheet of the first images, with the names of their classes; [height, width, 3] uint8.

    It has a row per class where there are several of each of several; else names stand under the images.
    """
    classes = list(dict.fromkeys(labels.tolist()))[:SHEET_ROWS]
    columns = min(SHEET_COLUMNS, min(int(np.sum(labels == label)) for label in classes))
    captions: list[str] = []
    if len(classes) > 1 and columns > 1:
        chosen = np.concatenate([np.flatnonzero(labels == label)[:columns] for label in classes])
        rows = [_class_name(model, label) for label in classes]
    else:
        columns = min(SHEET_COLUMNS, max(1, round(len(labels) ** 0.5)))
        rows = [""] * min(SHEET_ROWS, len(labels) // columns)
        chosen = np.arange(len(rows) * columns)
        if len(classes) > 1:
            captions = [_class_name(model, label) for label in labels[chosen]]
        else:
            rows[0] = _class_name(model, classes[0])  # of all rows
    images = model.sampler.images(model.variables, latents[chosen], labels[chosen])
    return sample_sheet(images.reshape(len(rows), columns, *images.shape[1:]), rows, title, captions)


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
    write_atomic(sheet, encoded_png(sample_sheet(frames[:, shown], names, title)))
    columns = max(1, round(len(frames) ** 0.5))
    rows = -(-len(frames) // columns)
    blank = np.full((rows * columns - len(frames), *frames.shape[1:]), 250, np.uint8)
    grid = np.concatenate([frames, blank]).reshape(rows, columns, *frames.shape[1:])
    height, width = frames.shape[2:4]
    moving = grid.transpose(2, 0, 3, 1, 4, 5).reshape(frames.shape[1], rows * height, columns * width, 3)
    larger = max(1, SMALLEST_MOVING // height)
    moving = moving.repeat(larger, axis=1).repeat(larger, axis=2)
    write_atomic(animation, encoded_animation(moving, kind))
    return [sheet, animation]


def write_attention(
    model: Model, latents: np.ndarray, labels: np.ndarray, title: str, folder: epath.Path
) -> tuple[epath.Path, list[str]]:
    """The attention picture of some images, of both networks where both are known.

    Returns:
      its file, and a line of numbers per layer.
    """
    images, maps = model.sampler.attention(model.variables, latents, labels)
    attention = attention_of("generator", maps, model.variables["params"])
    if model.discriminator is not None:
        _, maps = model.discriminate(images, labels)
        attention = attention.joined(attention_of("discriminator", maps, model.discriminator_variables["params"]))
    file = folder / "attention.png"
    write_atomic(file, encoded_png(attention_picture(images, attention.maps, attention.gammas, title)))
    lines = [
        f"{layer_caption(layer, weights, attention.gammas[layer])}, entropy {mean_entropy(weights):.2f} of at most"
        f" {np.log(weights.shape[-1]):.2f} nats, mean distance {mean_distance(weights, model.card.resolution):.1f} px"
        for layer, weights in attention.maps.items()
    ]
    return file, lines


def _class_name(model: Model, label: int) -> str:
    return model.card.class_names[label] if model.card.num_classes else ""


def _class_suffix(model: Model, label: int) -> str:
    name = "".join(letter if letter.isalnum() else "_" for letter in _class_name(model, label))
    return f"-{name[:40]}" if name else ""
