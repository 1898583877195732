"""Defines bilinear functions as JAX primitives that have one form for CPUs and another one for other platforms.

A primitive rather than `jax.custom_vjp`, so that derivatives of every order work, forward and reverse, and each of them
is again a function of ours: autodiff of XLA's own convolutions is slow on CPUs.
"""

import functools
from collections.abc import Callable, Mapping

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Form = Callable[..., jax.Array]  # (left, right, **static parameters) -> array


def bilinear_primitive(
    name: str, *, default: Form, platforms: Mapping[str, Form], parameters: tuple[str, ...]
) -> Primitive:
    """Makes a primitive that is linear in each of its two arrays; `set_transposes` completes it.

    Args:
      name: in jaxprs.
      default: computes it on any other platform, and under vmap on all of them.
      platforms: computes the same on those named, such as "cpu".
      parameters: names of the static keyword arguments of all forms.
    """
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=parameters))

    def abstract(left: jax.core.ShapedArray, right: jax.core.ShapedArray, **static: int) -> jax.core.ShapedArray:
        result = jax.eval_shape(functools.partial(default, **static), left, right)
        return jax.core.ShapedArray(result.shape, result.dtype)

    def batched(arrays: tuple, axes: tuple, **static: int) -> tuple[jax.Array, int]:
        return jax.vmap(functools.partial(default, **static), in_axes=axes)(*arrays), 0

    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(default, multiple_results=False))
    for platform, form in platforms.items():
        mlir.register_lowering(primitive, mlir.lower_fun(form, multiple_results=False), platform=platform)
    return primitive


def set_transposes(primitive: Primitive, *, left: Form, right: Form) -> None:
    """Sets the derivatives of a primitive f.

    Args:
      primitive: from `bilinear_primitive`.
      left: (cotangent, right array, **static) -> cotangent of the left array.
      right: (cotangent, left array, **static) -> cotangent of the right array.
    """
    ad.defbilinear(
        primitive,
        lambda cotangent, _, right_array, **static: left(cotangent, right_array, **static),
        lambda cotangent, left_array, _, **static: right(cotangent, left_array, **static),
    )
