"""The fields, sliders and buttons of the page, and what the browser does by itself."""

import json
from typing import Any, NamedTuple

import gradio as gr

from sagan_jax.exploring.choice import MAX_SEED, MIN_TRUNCATION, NO_TRUNCATION
from sagan_jax.sampling.card import Card

# Sends clicks on the image, or on one with a heat map, as fractions of its sides from the upper left.
ON_CLICK = """
element.addEventListener('click', (event) => {
  const image = event.target.closest('.tile');
  if (!image) return;
  const box = image.getBoundingClientRect();
  trigger('click', {x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height});
});
"""
ALWAYS_LIGHT = "() => { document.body.classList.remove('dark'); }"
SHOW_LINK = "(query) => { history.replaceState(null, '', query); }"
DOWNLOAD = """(data, name) => { const link = document.createElement('a'); link.href = data; link.download = name;
link.click(); }"""
# Only pages from this machine or by https may use the clipboard; elsewhere the older way is tried, on a field with the
# link that stays open if that fails as well.
LINK_FIELD = '<input id="link" readonly hidden aria-label="link to this view">'
COPY_LINK = """async () => {
  const field = document.querySelector('#link'), button = document.querySelector('#copy');
  let copied = true;
  try { await navigator.clipboard.writeText(location.href); }
  catch {
    field.hidden = false; field.value = location.href; field.focus(); field.select();
    copied = document.execCommand('copy');
  }
  field.hidden = copied;
  button.textContent = copied ? 'Copied' : 'Copy it from below';
  setTimeout(() => { button.textContent = 'Copy link'; }, 2000);
}"""
PERCENT = "`${Math.round(100 * value)} %`"
LIMIT = f"value >= {NO_TRUNCATION:g} ? 'off' : `latents within ±${{value}}`"


class Controls(NamedTuple):
    """The components whose values make a `Choice`, in the order of its fields."""

    label: gr.Dropdown
    seed: gr.Number
    truncation: gr.Slider
    other_seed: gr.Number
    walk: gr.Slider
    other_label: gr.Dropdown
    mix: gr.Slider


class Buttons(NamedTuple):
    """The buttons of the page."""

    another: gr.Button
    suggest: gr.Button
    clear: gr.Button
    save: gr.Button
    copy: gr.Button
    upload: gr.UploadButton
    back: gr.Button


def build_controls(card: Card, *, with_discriminator: bool) -> tuple[Controls, Buttons]:
    """Builds the controls of a model in the current column; only a discriminator can judge an uploaded image."""
    conditional = card.num_classes > 1
    classes: list[tuple[str, int]] = [(name, label) for label, name in enumerate(card.class_names)] or [("", 0)]
    with gr.Row(elem_id="quick"):
        label = gr.Dropdown(classes, value=0, label="Class", visible=conditional, elem_id="label", min_width=80)
        seed = _seed(0, "Seed", "seed")
        another = gr.Button("Another image", variant="primary", elem_id="another", min_width=80)
    with gr.Column(elem_id="more"):
        truncation = gr.Slider(
            MIN_TRUNCATION, NO_TRUNCATION, NO_TRUNCATION, step=0.1, label="Truncation", elem_id="truncation", buttons=[]
        )
        with gr.Row(elem_classes="way"):
            other_seed = _seed(1, "Walk to seed", "other_seed")
            walk = gr.Slider(0, 1, 0, step=0.01, label="how far", elem_id="walk", buttons=[], min_width=80)
        with gr.Row(elem_classes="way", visible=conditional):
            other_label = gr.Dropdown(classes, value=0, label="Mix with class", elem_id="other_label", min_width=80)
            mix = gr.Slider(0, 1, 0, step=0.01, label="how much", elem_id="mix", buttons=[], min_width=80)
    for slider, expression in ((truncation, LIMIT), (walk, PERCENT), (mix, PERCENT)):
        show_readout(slider, expression)
    with gr.Column(elem_id="actions"):
        with gr.Row():
            suggest, clear = _button("Suggest points", "suggest"), _button("Clear points", "clear")
        with gr.Row():
            save, copy = _button("Save picture", "save"), _button("Copy link", "copy")
        gr.HTML(LINK_FIELD)
        with gr.Row(visible=with_discriminator):
            upload = gr.UploadButton("Judge an image of yours", file_types=["image"], elem_id="upload", min_width=80)
            back = _button("Back to generated", "back", visible=False)
    controls = Controls(label, seed, truncation, other_seed, walk, other_label, mix)
    return controls, Buttons(another, suggest, clear, save, copy, upload, back)


def show_readout(slider: gr.Slider, expression: str) -> None:
    """Shows a slider's value beside its label, as the text that a JavaScript expression makes of `value`."""
    readout = f"document.getElementById({json.dumps(slider.elem_id)}).dataset.readout"
    slider.change(None, slider, None, js=f"(value) => {{ {readout} = {expression}; }}")


def _seed(value: int, label: str, name: str) -> gr.Number:
    options: dict[str, Any] = {"precision": 0, "minimum": 0, "maximum": MAX_SEED, "min_width": 80, "buttons": []}
    return gr.Number(value, label=label, elem_id=name, **options)


def _button(label: str, name: str, **options: Any) -> gr.Button:
    return gr.Button(label, elem_id=name, min_width=80, **options)
