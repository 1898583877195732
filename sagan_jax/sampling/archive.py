"""Many images in one file, written as they are made."""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
from etils import epath

from sagan_jax.runtime.storage import is_remote, partial_path, publish
from sagan_jax.sampling.model import Model


def write_archive(model: Model, latents: np.ndarray, labels: np.ndarray, file: epath.Path) -> None:
    """An .npz that `sagan_jax.evaluate --fake` reads.

    It has "images" [N, H, W, 3] uint8, "labels" [N], and of a conditional model the "class_names" [K] of the labels.
    Only the images of a call are in memory at a time.
    """
    arrays = {"labels": labels}
    if model.card.num_classes:
        arrays["class_names"] = np.asarray(model.card.class_names)
    with tempfile.TemporaryDirectory() as scratch:
        partial = Path(scratch, file.name) if is_remote(file) else partial_path(Path(file))
        try:
            with zipfile.ZipFile(partial, "w") as archive:
                _write_images(archive, model, latents, labels)
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w") as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            publish(partial, file)
        finally:
            partial.unlink(missing_ok=True)


def _write_images(archive: zipfile.ZipFile, model: Model, latents: np.ndarray, labels: np.ndarray) -> None:
    shape = (len(labels), model.card.resolution, model.card.resolution, 3)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    with archive.open("images.npy", "w", force_zip64=True) as member:  # may be larger than 4 GiB
        np.lib.format.write_array_header_1_0(member, header)
        for images in model.batches(latents, labels):
            member.write(images.tobytes())
