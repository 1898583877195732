"""What a person can set: the fields and sliders of the page, and the choice that they make up."""

from typing import Any, NamedTuple

import gradio as gr

from sagan_jax.exploring.behaviour import readout
from sagan_jax.exploring.scene import NO_TRUNCATION, Choice
from sagan_jax.sampling.card import Card

LARGEST_SEED = 2**32 - 1
PERCENT = "`${Math.round(100 * value)} %`"


class Controls(NamedTuple):
    """The components of a choice, in the order of `Choice`'s fields, and the button that draws a seed."""

    label: gr.Dropdown
    seed: gr.Number
    truncation: gr.Slider
    other_seed: gr.Number
    walk: gr.Slider
    other_label: gr.Dropdown
    mix: gr.Slider
    another: gr.Button

    @property
    def inputs(self) -> list[Any]:
        """All that have a value."""
        return list(self[:-1])


def build_controls(card: Card) -> Controls:
    """The controls of a model, in the column that is being built."""
    conditional = card.num_classes > 1
    classes: list[tuple[str, int]] = [(name, label) for label, name in enumerate(card.class_names)] or [("", 0)]
    with gr.Row(elem_id="quick"):
        label = gr.Dropdown(classes, value=0, label="Class", visible=conditional, elem_id="label", min_width=80)
        seed = _seed(0, "Seed", "seed")
        another = gr.Button("Another image", variant="primary", elem_id="another", min_width=80)
    with gr.Column(elem_id="more"):
        truncation = gr.Slider(
            0.1, NO_TRUNCATION, NO_TRUNCATION, step=0.1, label="Truncation", elem_id="truncation", buttons=[]
        )
        with gr.Row(elem_classes="way"):
            other_seed = _seed(1, "Walk to seed", "other_seed")
            walk = gr.Slider(0, 1, 0, step=0.01, label="how far", elem_id="walk", buttons=[], min_width=80)
        with gr.Row(elem_classes="way", visible=conditional):
            other_label = gr.Dropdown(classes, value=0, label="Mix with class", elem_id="other_label", min_width=80)
            mix = gr.Slider(0, 1, 0, step=0.01, label="how much", elem_id="mix", buttons=[], min_width=80)
    off = f"value >= {NO_TRUNCATION:g} ? 'off' : `latents within ±${{value}}`"
    for slider, name, wording in ((truncation, "truncation", off), (walk, "walk", PERCENT), (mix, "mix", PERCENT)):
        slider.change(None, slider, None, js=readout(name, wording))
    return Controls(label, seed, truncation, other_seed, walk, other_label, mix, another)


def choice_of(values: list[Any]) -> Choice:
    """From the controls' values, in the order of its fields; an empty field counts as 0."""
    label, seed, truncation, other_seed, walk, other_label, mix = (value or 0 for value in values)
    return Choice(int(label), int(seed), float(truncation), int(other_seed), float(walk), int(other_label), float(mix))


def _seed(value: int, label: str, name: str) -> gr.Number:
    return gr.Number(
        value, label=label, precision=0, minimum=0, maximum=LARGEST_SEED, elem_id=name, min_width=80, buttons=[]
    )
