"""Models from other programs' weights: the card, and arrays that fit it."""

import difflib
from typing import NamedTuple

from sagan_jax.errors import InputError
from sagan_jax.layouts.names import LAYOUTS, Layout
from sagan_jax.layouts.networks import Arrays, Importer
from sagan_jax.layouts.stored import Stored
from sagan_jax.portable.folder import check_arrays, discriminator_shapes, generator_shapes
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.sampler import Tree


class Imported(NamedTuple):
    """A model, and what is known of it.

    Attributes:
      card: its card.
      variables: the generator's, ready to use.
      judge: the discriminator's, or None.
    """

    card: Card
    variables: Tree
    judge: Tree


def import_model(arrays: Arrays, layout: str, file: str, class_names: tuple[str, ...] = ()) -> Imported:
    """A model from the arrays of another program's file.

    Args:
      arrays: by their names there.
      layout: one of `LAYOUTS`.
      file: name of the file, for messages and the card.
      class_names: in the order of labels; empty: "class 0", ...

    Raises:
      InputError: something is missing, unknown or does not fit our networks.
    """
    known, stored = _known(layout), Stored(arrays, file)
    try:
        importer = Importer(known, stored)
        generator, params, moments = importer.generator()
        discriminator, judge = importer.discriminator(generator.resolutions[-1])
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} holds networks that ours cannot express ({error}): it cannot be imported.") from error
    stored.check_all_taken(importer.ignored)
    (classes, _) = params["block_8/norm_0/scale"].shape
    if class_names and len(class_names) != classes:
        raise InputError(
            f"--class-names has {len(class_names)} names, but {file} has {classes} classes: give one each."
        )
    done = "divided by the spectral norms kept in the file" + ("; images made RGB" if known.flip_colors else "")
    card = Card(
        name=file,
        latent_size=params["dense/kernel"].shape[0],
        num_classes=classes,
        generator=generator,
        discriminator=discriminator,
        batch_norm_epsilon=known.epsilon(stored),
        class_names=class_names or tuple(f"class {label}" for label in range(classes)),
        class_shares=(),
        step=None,
        weights=f"imported; {done}; moments as in the file",
        origin={"imported": {"file": file, "layout": layout, "source": known.source}},
    )
    named = {f"params/{name}": value for name, value in params.items()}
    named |= {f"batch_stats/{name}": value for name, value in moments.items()}
    variables = check_arrays(named, generator_shapes(card), file)
    if judge:
        named = {f"params/{name}": value for name, value in judge.items()}
        return Imported(card, variables, check_arrays(named, discriminator_shapes(card), file))
    return Imported(card, variables, None)


def discriminator_prefix(layout: str) -> str:
    """What tells the discriminator's names from the generator's where their files are joined.

    Raises:
      InputError: the layout is unknown, or its discriminator is another than ours.
    """
    known = _known(layout)
    if known.discriminator is None:
        raise InputError(f"--discriminator-from: that of {layout} computes what ours does not; leave the flag out.")
    return known.prefixes[0].discriminator


def _known(layout: str) -> Layout:
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(LAYOUTS)}."
        raise InputError(f"--layout={layout} is unknown: {hint}")
    return LAYOUTS[layout]
