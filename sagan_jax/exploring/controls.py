"""The fields, sliders and buttons of the page, and what the browser does by itself."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from sagan_jax.exploring.choice import MIN_TRUNCATION, NO_TRUNCATION
from sagan_jax.sampling.card import Card


def script(name: str) -> str:
    """Returns the JavaScript of a file beside this one."""
    return Path(__file__).with_name(name).read_text()


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

    label: gr.HTML
    seed: gr.Number
    truncation: gr.Slider
    other_seed: gr.Number
    walk: gr.Slider
    other_label: gr.HTML
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
    label = _class_field(card, "Class", "label")
    with gr.Row(elem_id="quick"):
        seed = _seed(0, "Seed", "seed")
        another = gr.Button("Another image", variant="primary", elem_id="another", min_width=80)
    with gr.Column(elem_id="more"):
        truncation = gr.Slider(
            MIN_TRUNCATION, NO_TRUNCATION, NO_TRUNCATION, step=0.1, label="Truncation", elem_id="truncation", buttons=[]
        )
        with gr.Row(elem_classes="way"):
            other_seed = _seed(1, "Walk to seed", "other_seed")
            walk = gr.Slider(0, 1, 0, step=0.01, label="how far", elem_id="walk", buttons=[], min_width=80)
        with gr.Column(elem_classes="mixture", visible=conditional):
            other_label = _class_field(card, "Mix with class", "other_label")
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


def _class_field(card: Card, label: str, name: str) -> gr.HTML:
    """Builds a search field, whose value is the label of a class; hidden for a model without classes."""
    template = (
        f'<label for="{name}-field">{label}</label>'
        f'<input id="{name}-field" role="combobox" aria-expanded="false" aria-controls="{name}-list" autocomplete="off"'
        ' spellcheck="false" placeholder="name or number">'
        f'<ul id="{name}-list" role="listbox" aria-label="{label}" hidden></ul>'
    )
    names = list(card.class_names) or [""]
    options: dict[str, Any] = {"elem_id": name, "elem_classes": "class-field", "visible": card.num_classes > 1}
    return gr.HTML(0, html_template=template, js_on_load=script("class_field.js"), names=names, **options)


def _seed(value: int, label: str, name: str) -> gr.Number:
    """Builds a field without limits of its own: Gradio would answer a wrong number with an error of its own."""
    return gr.Number(value, label=label, elem_id=name, min_width=80, buttons=[])


def _button(label: str, name: str, **options: Any) -> gr.Button:
    return gr.Button(label, elem_id=name, min_width=80, **options)
