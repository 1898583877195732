"""A folder with one subfolder of images per class."""

from pathlib import Path

import numpy as np
from PIL import Image

from sagan_jax.data.transforms import UNREADABLE, square_rgb
from sagan_jax.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class ImageFolder:
    """Images found below PATH/CLASS/, decoded, cropped and resized when they are read.

    Labels follow the sorted names of the subfolders.

    Raises:
      InputError: the folder is missing, has no subfolders, or a class has no image.
    """

    def __init__(self, path: str, resolution: int):
        self.name = f"folder:{path}"
        self.resolution = resolution
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise InputError(
                f"data.source = 'folder:{path}': there is no such folder; give one with a subfolder per class."
            )
        classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not classes:
            raise InputError(
                f"data.source = 'folder:{path}': the folder has no subfolders; put the images of each class"
                " into a subfolder of its own (a single one will do with model.num_classes = 0)."
            )
        self.class_names = tuple(p.name for p in classes)
        self.files = [(file, label) for label, p in enumerate(classes) for file in _images_below(p)]

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> tuple[np.ndarray, int]:
        """See `ImageSource.load`. Raises InputError, naming the file, if it cannot be decoded."""
        file, label = self.files[index]
        try:
            with Image.open(file) as image:
                return square_rgb(image, self.resolution), label
        except UNREADABLE as error:
            raise InputError(f"{file} is not a readable image ({error}): mend or delete it.") from error


def _images_below(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    files = sorted(p for p in found if not p.name.startswith("."))
    if not files:
        raise InputError(
            f"data.source: the class folder {folder} has no image: add some"
            f" ({', '.join(SUFFIXES)}) or remove the folder."
        )
    return files
