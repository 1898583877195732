"""Programs that are kept: built once for equal arguments, and always where nobody can say whether they are equal."""

import dataclasses

import pytest

from sagan_jax.runtime import programs


@dataclasses.dataclass(frozen=True)
class Part:
    size: int


@pytest.fixture
def build():
    return programs.kept(lambda part, mesh=None: object())


def test_equal_arguments_give_the_same_program(build):
    assert build(Part(3)) is build(Part(3))
    assert build(Part(3)) is not build(Part(4))
    assert build(Part(3), mesh="a") is not build(Part(3))


def test_what_cannot_be_hashed_is_built_each_time(build):
    assert build([3]) is not build([3])


def test_only_the_last_ones_are_kept(build):
    first = build(Part(0))
    for size in range(1, programs.KEPT + 1):
        build(Part(size))
    assert build(Part(0)) is not first


def test_all_can_be_forgotten(build):
    first = build(Part(3))
    programs.forget_programs()
    assert build(Part(3)) is not first
