"""Makes a model of another program's weights: a card, and arrays that fit it."""

import dataclasses
import difflib
from typing import NamedTuple

from sagan_jax.errors import InputError
from sagan_jax.layouts.layout import Layout
from sagan_jax.layouts.names import LAYOUTS
from sagan_jax.layouts.networks import Arrays, Importer
from sagan_jax.layouts.stored import Stored
from sagan_jax.portable.folder import check_arrays, discriminator_shapes, generator_shapes
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.sampler import Tree


class Imported(NamedTuple):
    """A converted model.

    Attributes:
      card: architecture, classes and origin.
      variables: of the generator, ready for sampling.
      discriminator_variables: of the discriminator, or None where the file has none.
      notes: sentences on what was assumed or left out.
    """

    card: Card
    variables: Tree
    discriminator_variables: Tree
    notes: tuple[str, ...] = ()


def import_model(
    arrays: Arrays,
    layout: str,
    file: str,
    class_names: tuple[str, ...] = (),
    *,
    inplace_relu: bool = False,
    channel_order: str | None = None,
    final_resolution: int | None = None,
) -> Imported:
    """Converts the arrays of another program's file.

    Args:
      arrays: by their names in the file.
      layout: one of `LAYOUTS`.
      file: name of the file, for messages and the card.
      class_names: in the order of labels; empty: "class 0", ...
      inplace_relu: whether the discriminator activated in place; some layouts always do.
      channel_order: "rgb" or "bgr", of the training images; None: as usual for the layout.
      final_resolution: side of the discriminator's last feature map; None: as the weights say, or as usual.

    Raises:
      InputError: something is missing, unknown or does not fit our networks.
    """
    known, stored = _known(layout), Stored(arrays, file)
    if channel_order is not None:
        known = dataclasses.replace(known, bgr=channel_order == "bgr")
    try:
        importer = Importer(known, stored)
        generator, params, moments = importer.generator()
        discriminator, discriminator_params = importer.discriminator(generator.resolutions[-1], final_resolution)
        (classes, _) = params["block_8/norm_0/scale"].shape
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} holds networks that ours cannot express ({error}): it cannot be imported.") from error
    importer.check_all_taken()
    if class_names and len(class_names) != classes:
        wrong = f"has {len(class_names)} names, but {file} has {classes} classes"
        raise InputError(wrong, field="--class-names", remedy="one each")
    done = "divided by the spectral norms kept in the file" + ("; images made RGB" if known.bgr else "")
    card = Card(
        name=file,
        latent_size=params["dense/kernel"].shape[0],
        num_classes=classes,
        generator=generator,
        discriminator=discriminator,
        batch_norm_epsilon=known.epsilon(stored),
        class_names=class_names or tuple(f"class {label}" for label in range(classes)),
        weights=f"imported; {done}; moments as in the file" + "".join(f"; {note}" for note in importer.notes),
        origin={"imported": {"file": file, "layout": layout, "source": known.source}},
        inplace_relu=discriminator is not None and (inplace_relu or known.inplace_relu),
    )
    found = _named("params", params) | _named("batch_stats", moments)
    variables = check_arrays(found, generator_shapes(card), file)
    if discriminator_params:
        discriminator_params = check_arrays(_named("params", discriminator_params), discriminator_shapes(card), file)
    return Imported(card, variables, discriminator_params, tuple(importer.notes))


def _named(collection: str, arrays: Arrays) -> Arrays:
    return {f"{collection}/{name}": value for name, value in arrays.items()}


def joined_prefix(layout: str) -> str:
    """Returns the prefix that keeps the discriminator's names apart from the generator's in a joined file.

    Raises:
      InputError: the layout is unknown.
    """
    return _known(layout).joined


def _known(layout: str) -> Layout:
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(LAYOUTS)}"
        raise InputError("is unknown", field="--layout", value=layout, remedy=hint)
    return LAYOUTS[layout]
