"""Files made with a model: single images, an archive, a sheet, interpolations, attention."""

import itertools
import tempfile
import zipfile
from pathlib import Path

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
from sagan_jax.runtime.storage import existing_parent, is_remote, partial_path, publish, require_space, write_atomic
from sagan_jax.sampling.attention import AttentionMaps, mean_distance, mean_entropy
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.sampler import Latents

SHEET_ROWS, SHEET_COLUMNS = 10, 10
SHOWN_FRAMES = 8  # of an interpolation's sheet
SMALLEST_MOVING = 96  # pixels; smaller images are enlarged in an animation


def next_folder(parent: epath.Path) -> epath.Path:
    """Returns the folder in `parent` with the first number that is not used; does not make it."""
    used = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()] if parent.is_dir() else []
    return parent / f"{max(used, default=0) + 1:03d}"


def write_images(model: Model, latents: np.ndarray | Latents, labels: np.ndarray, folder: epath.Path) -> epath.Path:
    """Writes a PNG file per image, named by its number and class; returns the first file.

    Raises:
      InputError: the folder has images of another call, which would be mixed with these.
    """

    def name(number: int) -> str:
        return f"{number:06d}{_class_suffix(model, labels[number])}.png"

    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.png"):
        number = path.name[: -len(".png")].partition("-")[0]
        if not number.isdecimal() or int(number) >= len(labels) or path.name != name(int(number)):
            wrong = f"{folder} has images of another call (such as {path.name})"
            raise InputError(f"{wrong}: choose another --out, or remove them first.")
    for number, image in enumerate(itertools.chain.from_iterable(model.batches(latents, labels))):
        write_atomic(folder / name(number), encoded_png(image))
    return folder / name(0)


def write_archive(model: Model, latents: np.ndarray | Latents, labels: np.ndarray, file: epath.Path) -> None:
    """Writes an .npz that `sagan_jax.evaluate --fake` reads, with the images of one call in memory at a time.

    It has "images" [N, H, W, 3] uint8, "labels" [N], and of a conditional model the "class_names" [K] of the labels.
    """
    if not is_remote(file):
        require_space(existing_parent(Path(file).parent), len(labels) * model.resolution**2 * 3, "--npz")
    arrays = {"labels": labels} | ({"class_names": np.asarray(model.class_names)} if model.class_names else {})
    with tempfile.TemporaryDirectory() as scratch:
        partial = Path(scratch, file.name) if is_remote(file) else partial_path(Path(file))
        try:
            with zipfile.ZipFile(partial, "w") as archive:
                _write_pixels(archive, model, latents, labels)
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w") as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            publish(partial, file)
        finally:
            partial.unlink(missing_ok=True)


def draw_sheet(model: Model, latents: np.ndarray | Latents, labels: np.ndarray, title: str) -> np.ndarray:
    """Draws the first images with the names of their classes; [height, width, 3] uint8.

    The sheet has a row per class where there are several images of several classes; otherwise names are captions.
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


def write_interpolation(
    frames: np.ndarray, names: list[str], title: str, folder: epath.Path, kind: str
) -> list[epath.Path]:
    """Writes a sheet of some frames and an animation of all; returns the files.

    Args:
      frames: [R, T, H, W, 3] uint8, R interpolations of T frames.
      names: R names for the sheet's rows.
      title: of the sheet.
      folder: for the files.
      kind: of the animation, "webp" or "gif".
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
    images: np.ndarray, attention: AttentionMaps, title: str, folder: epath.Path
) -> tuple[epath.Path, list[str]]:
    """Writes a picture of images [N, H, W, 3] uint8 with their attention.

    Returns:
      its file, and a line of numbers per layer.
    """
    file = folder / "attention.png"
    write_atomic(file, encoded_png(attention_picture(images, attention.maps, attention.gammas, title)))
    lines = [
        f"{layer_caption(layer, weights, attention.gammas[layer])}, entropy {mean_entropy(weights):.2f} of at most"
        f" {np.log(weights.shape[-1]):.2f} nats, mean distance {mean_distance(weights, images.shape[1]):.1f} px"
        for layer, weights in attention.maps.items()
    ]
    return file, lines


def _write_pixels(archive: zipfile.ZipFile, model: Model, latents: np.ndarray | Latents, labels: np.ndarray) -> None:
    shape = (len(labels), model.resolution, model.resolution, 3)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    with archive.open("images.npy", "w", force_zip64=True) as member:  # may be larger than 4 GiB
        np.lib.format.write_array_header_1_0(member, header)
        for images in model.batches(latents, labels):
            member.write(images.tobytes())


def _class_name(model: Model, label: int) -> str:
    return model.class_names[label] if model.class_names else ""


def _class_suffix(model: Model, label: int) -> str:
    name = "".join(letter if letter.isalnum() else "_" for letter in _class_name(model, label))
    return f"-{name[:40]}" if name else ""
