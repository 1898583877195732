"""Files made with a model: single images, an archive, a sheet, interpolations, attention."""

import itertools
import math
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.pictures import GAP, PAPER, encoded_animation, encoded_png, sample_sheet
from sagan_jax.runtime.storage import existing_parent, is_remote, partial_path, publish, require_space, write_atomic
from sagan_jax.sampling.attention import AttentionMaps
from sagan_jax.sampling.attention_picture import attention_picture, layer_line
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.numbers import percent
from sagan_jax.sampling.sampler import Latents

SHEET_ROWS, SHEET_COLUMNS = 10, 10
SHOWN_FRAMES, MOST_COLUMNS = 8, 16  # of an interpolation's sheet: so many, or one of each waypoint up to the other
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
    classes = list(dict.fromkeys(labels.tolist()))
    captions: list[str] = []
    if 1 < len(classes) < len(labels):
        rows = [np.flatnonzero(labels == label)[:SHEET_COLUMNS] for label in classes[:SHEET_ROWS]]
        names = [_class_name(model, label) for label in classes[:SHEET_ROWS]]
    else:
        shown = np.arange(min(len(labels), SHEET_ROWS * SHEET_COLUMNS))
        columns = math.ceil(len(shown) ** 0.5)
        rows = np.split(shown, range(columns, len(shown), columns))
        names = [_class_name(model, classes[0]) if len(classes) == 1 else "", *[""] * (len(rows) - 1)]
        captions = [_class_name(model, label) for label in labels[shown]] if len(classes) > 1 else []
    chosen = np.concatenate(rows)
    images = model.sampler.images(model.variables, latents[chosen], labels[chosen])
    if len(chosen) < len(labels):
        title += f" · {len(chosen)} of {len(labels):,} images"
    return sample_sheet(np.split(images, np.cumsum([len(row) for row in rows])[:-1]), names, title, captions)


def write_interpolation(
    frames: np.ndarray, row_names: list[str], waypoints: list[str], title: str, folder: epath.Path, kind: str
) -> list[epath.Path]:
    """Writes a sheet of some frames and an animation of all; returns the files.

    Args:
      frames: [R, K * T, H, W, 3] uint8, R interpolations over K waypoints of T frames each.
      row_names: R names for the sheet's rows.
      waypoints: K names, of what the columns begin with.
      title: of the sheet.
      folder: for the files.
      kind: of the animation, "webp" or "gif".
    """
    shown, names = sheet_columns(waypoints, frames.shape[1] // len(waypoints))
    sheet, animation = folder / "interpolation.png", folder / f"interpolation.{kind}"
    write_atomic(sheet, encoded_png(sample_sheet(frames[:, shown], row_names, title, column_names=names)))
    write_atomic(animation, encoded_animation(_side_by_side(frames), kind))
    return [sheet, animation]


def sheet_columns(waypoints: list[str], frames: int) -> tuple[list[int], list[str]]:
    """Returns which frames an interpolation's sheet shows, with their names: every waypoint, and what lies between.

    Of many waypoints only some are shown.

    Args:
      waypoints: their names.
      frames: from one waypoint to the next.
    """
    between = min(frames, max(1, SHOWN_FRAMES // len(waypoints)))
    places = range(0, len(waypoints), -(-len(waypoints) // MOST_COLUMNS))
    shown = [(place, frames * part // between) for place in places for part in range(between)]
    names = [waypoints[place] if not part else f"→ {percent(part / frames)}" for place, part in shown]
    return [place * frames + part for place, part in shown], names


def _side_by_side(frames: np.ndarray) -> np.ndarray:
    """Lays interpolations [R, T, H, W, 3] out as one, nearly square and with gaps between them."""
    larger = max(1, -(-SMALLEST_MOVING // frames.shape[2]))
    frames = frames.repeat(larger, axis=2).repeat(larger, axis=3)
    count, length, side = frames.shape[:3]
    columns = math.ceil(count**0.5)
    rows = -(-count // columns)
    height, width = (number * (side + GAP) - GAP for number in (rows, columns))
    canvas = np.full((length, height, width, 3), PAPER, np.uint8)
    for index, moving in enumerate(frames):
        top, left = (place * (side + GAP) for place in divmod(index, columns))
        canvas[:, top : top + side, left : left + side] = moving
    return canvas


def write_attention(
    images: np.ndarray, attention: AttentionMaps, title: str, folder: epath.Path
) -> tuple[epath.Path, list[str]]:
    """Writes a picture of images [N, H, W, 3] uint8 with their attention.

    Returns:
      its file, and a line of numbers per layer.
    """
    file = folder / "attention.png"
    write_atomic(
        file, encoded_png(attention_picture(images, attention, f"{title} · what each marked point attends to"))
    )
    return file, [layer_line(name, attention, images.shape[1]) for name in attention.maps]


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
