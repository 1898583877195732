"""Images from disk to the devices; knows nothing of training.

`ImageSource` is the protocol for images of your own, `check_source` checks that a class keeps to it, and `ArrayImages`
makes one of arrays.
"""

from sagan_jax.data.arrays import ArrayImages
from sagan_jax.data.source import ImageSource
from sagan_jax.data.source_check import check_source

__all__ = ["ArrayImages", "ImageSource", "check_source"]
