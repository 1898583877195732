"""Keeps the compiled programs of a process: of equal parts they are traced and compiled once."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

KEPT = 8  # of each kind; what was used longest ago goes

Arguments = ParamSpec("Arguments")
Program = TypeVar("Program")

_caches: list[Any] = []


def kept(build: Callable[Arguments, Program]) -> Callable[Arguments, Program]:
    """Returns a function that builds what `build` does, or gives back what it has built for equal arguments.

    Modules of other people may not be hashable: for these it builds each time.
    """
    cached: Any = functools.lru_cache(maxsize=KEPT)(build)
    _caches.append(cached)

    @functools.wraps(build)
    def kept_or_built(*arguments: Arguments.args, **options: Arguments.kwargs) -> Program:
        hashable = all(_is_hashable(value) for value in (*arguments, *options.values()))
        return cached(*arguments, **options) if hashable else build(*arguments, **options)

    return kept_or_built


def forget_programs() -> None:
    """Builds everything anew from now on; for who has changed a function that programs are made of."""
    for cached in _caches:
        cached.cache_clear()


def _is_hashable(value: Hashable) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
