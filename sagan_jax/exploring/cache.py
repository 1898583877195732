"""Scenes that were made before: as many as fit into so many bytes."""

import collections
import threading
from collections.abc import Callable, Hashable

from sagan_jax.exploring.scene import Scene


class LRUCache:
    """Scenes by their keys. Where they are too large together, the ones that were asked for longest ago go.

    The newest one always stays, however large it is: the next click asks for it.

    Args:
      most_bytes: of all scenes together.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._scenes: collections.OrderedDict[Hashable, Scene] = collections.OrderedDict()
        self._lock = threading.Lock()  # visitors are served by several threads

    def get(self, key: Hashable, make: Callable[[], Scene]) -> Scene:
        """The scene of a key; `make` makes it where it is not kept."""
        with self._lock:
            if key in self._scenes:
                self._scenes.move_to_end(key)
                return self._scenes[key]
        scene = make()
        with self._lock:
            self._scenes[key] = scene
            while len(self._scenes) > 1 and sum(kept.nbytes for kept in self._scenes.values()) > self._most_bytes:
                self._scenes.popitem(last=False)
        return scene
