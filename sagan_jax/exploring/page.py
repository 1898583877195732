"""The explorer's page: what a person chooses, and what then is shown."""

import base64
import dataclasses
import html
import random
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.exploring.link import from_query, to_query
from sagan_jax.exploring.scene import NO_TRUNCATION, Choice, Scene, Stage
from sagan_jax.exploring.timeline import Timeline
from sagan_jax.exploring.upload import read_upload
from sagan_jax.exploring.view import MOST_POINTS, Point, layers_html, saved_picture, stage_html, telling_points

CSS = Path(__file__).with_name("look.css").read_text()
# The frame of the page: Gradio puts all other rules inside of it.
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1"><style>
.gradio-container { width: 100% !important; max-width: 1130px !important; margin: 0 auto !important; }
.gradio-container { padding: 12px clamp(4px, 2vw, 24px) 40px !important; min-width: 0 !important; }
.gradio-container .main.fillable { padding: 12px clamp(0px, 1vw, 12px) !important; min-width: 0 !important; }
</style>"""
# Clicks on the image, as shares of its sides from the upper left.
ON_CLICK = """
element.addEventListener('click', (event) => {
  const image = event.target.closest('#stage-image');
  if (!image) return;
  const box = image.getBoundingClientRect();
  trigger('click', {x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height});
});
"""
ALWAYS_LIGHT = "() => { document.body.classList.remove('dark'); }"
COPY_LINK = """() => { navigator.clipboard.writeText(location.href);
const button = document.querySelector('#copy'); button.textContent = 'Copied'; }"""
SHOW_LINK = "(query) => { history.replaceState(null, '', query); }"
DOWNLOAD = """(data) => { const link = document.createElement('a'); link.href = data; link.download = 'attention.png';
link.click(); }"""


class Page:
    """The page of one model.

    Args:
      stage: makes the images.
      timeline: of the model's training, or None.
    """

    def __init__(self, stage: Stage, timeline: Timeline | None):
        self._stage, self._timeline = stage, timeline
        self._card = stage.model.card

    def build(self) -> gr.Blocks:
        """The page, to be launched."""
        with gr.Blocks(title=f"{self._card.name} · sagan_jax", analytics_enabled=False, fill_width=True) as page:
            gr.HTML(self._heading(), elem_id="title")
            points, uploaded = gr.State([]), gr.State(None)
            with gr.Row(elem_id="main"):
                with gr.Column(elem_id="left"):
                    stage = gr.HTML(js_on_load=ON_CLICK, elem_id="stage")
                    controls = self._controls()
                    with gr.Row(elem_id="actions"):
                        another = gr.Button("Another image", variant="primary", elem_id="another", size="md")
                        clear = gr.Button("Clear points", elem_id="clear", size="md")
                        save = gr.Button("Save picture", elem_id="save", size="md")
                        copy = gr.Button("Copy link", elem_id="copy", size="md")
                    upload = gr.UploadButton(
                        "Show an image of yours to the discriminator",
                        file_types=["image"],
                        visible=self._stage.model.discriminator is not None,
                        elem_id="upload",
                        size="md",
                    )
                    link, picture = gr.Textbox(visible="hidden"), gr.Textbox(visible="hidden")
                with gr.Column(elem_id="right"):
                    layers = gr.HTML(elem_id="layers")
            self._training()

            shown: dict[str, Any] = {"outputs": [stage, layers, link, points, uploaded], "show_progress": "hidden"}
            changes = [*(c.release if isinstance(c, gr.Slider) else c.input for c in controls)]
            moved = gr.on(changes, self._chosen, [*controls, points], **shown, trigger_mode="always_last")
            drawn = another.click(self._another, None, controls[1], show_progress="hidden")
            drawn = drawn.then(self._chosen, [*controls, points], **shown)
            clicked = stage.click(self._clicked, [*controls, points, uploaded], **shown, trigger_mode="multiple")
            cleared = clear.click(self._cleared, [*controls, uploaded], **shown)
            upload.upload(self._uploaded, [upload, *controls, points], **shown, trigger_mode="multiple")
            save.click(self._picture, [*controls, points, uploaded], picture, show_progress="hidden").then(
                None, picture, None, js=DOWNLOAD
            )
            copy.click(None, None, None, js=COPY_LINK)
            opened = page.load(self._opened, None, [*controls, *shown["outputs"]], show_progress="hidden")
            for event in (moved, drawn, clicked, cleared, opened):
                event.then(None, link, None, js=SHOW_LINK)
        return page

    def _heading(self) -> str:
        card = self._card
        facts = [f"{card.resolution} px", f"{card.num_classes} classes" if card.num_classes else "no classes"]
        facts += [] if card.step is None else [f"step {card.step:,}"]
        of_both = "" if self._stage.model.discriminator is None else " of both networks"
        what = f"Click on the image to see where that point looks, in every attention layer{of_both}."
        return f"<h1>{html.escape(card.name)} <small>{' · '.join(facts)}</small></h1><p>{what}</p>"

    def _controls(self) -> list[Any]:
        """In the order of `Choice`'s fields."""
        names, conditional = self._card.class_names, self._card.num_classes > 1
        classes: list[tuple[str, int]] = [(name, label) for label, name in enumerate(names)] or [("", 0)]
        with gr.Row():
            label = gr.Dropdown(
                classes, value=0, label="Class", visible=conditional, elem_id="label", min_width=110, filterable=True
            )
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1, elem_id="seed", min_width=90)
        truncation = gr.Slider(
            0.1,
            NO_TRUNCATION,
            NO_TRUNCATION,
            step=0.1,
            label=f"Truncation ({NO_TRUNCATION:g}: none)",
            elem_id="truncation",
        )
        with gr.Accordion("On the way to another image", open=False, elem_id="ways"):
            with gr.Row():
                other_seed = gr.Number(1, label="Other seed", precision=0, minimum=0, maximum=2**32 - 1, min_width=90)
                walk = gr.Slider(0, 1, 0, step=0.02, label="Walk", elem_id="walk", min_width=140)
            with gr.Row(visible=conditional):
                other_label = gr.Dropdown(classes, value=0, label="Other class", min_width=90, elem_id="other_label")
                mix = gr.Slider(0, 1, 0, step=0.02, label="Mix", elem_id="mix", min_width=140)
        return [label, seed, truncation, other_seed, walk, other_label, mix]

    def _training(self) -> None:
        timeline = self._timeline
        if not timeline or not timeline.sheets:
            return
        steps = list(timeline.sheets)
        with gr.Accordion("How it came to this", open=False, elem_id="timeline"):
            last = len(steps) - 1
            at = gr.Slider(0, max(1, last), last, step=1, label="Sample sheets of the training, from first to last")
            sheet = gr.HTML(self._sheet(last), elem_classes="timeline")
            at.change(self._sheet, at, sheet, show_progress="hidden", trigger_mode="always_last")

    def _sheet(self, index: float) -> str:
        assert self._timeline
        step = list(self._timeline.sheets)[min(int(index), len(self._timeline.sheets) - 1)]
        data = base64.b64encode(self._timeline.sheets[step].read_bytes()).decode()
        gammas = " · ".join(f"{name} {value:+.3f}" for name, value in self._timeline.gammas_at(step).items())
        caption = f'<p class="none">step {step:,}{" · " if gammas else ""}{gammas}</p>'
        return f'{caption}<img alt="samples of step {step}" src="data:image/png;base64,{data}">'

    def _scene(self, choice: Choice, uploaded: np.ndarray | None) -> Scene:
        return self._stage.generated(choice) if uploaded is None else self._stage.judged(uploaded, choice.label)

    def _shown(self, choice: Choice, points: list[Point], uploaded: np.ndarray | None = None) -> tuple:
        scene = self._scene(choice, uploaded)
        logit = "" if scene.logit is None else f" · the discriminator says {scene.logit:+.2f} (above 0: real)"
        what = "your image" if uploaded is not None else "generated, not selected"
        stage = stage_html(scene, points, f"{what}{logit}")
        return stage, layers_html(scene, points), to_query(choice, points), points, uploaded

    def _chosen(self, *values: Any) -> tuple:
        *chosen, points = values
        return self._shown(choice_of(chosen), points)

    def _another(self) -> int:
        return random.randrange(10_000)

    def _clicked(self, event: gr.EventData, *values: Any) -> tuple:
        *chosen, points, uploaded = values
        x, y = (min(1.0, max(0.0, float(event._data[name]))) for name in "xy")
        points = [*points, (x, y)] if len(points) < MOST_POINTS else [*points[1:], (x, y)]
        return self._shown(choice_of(chosen), points, uploaded)

    def _cleared(self, *values: Any) -> tuple:
        *chosen, uploaded = values
        return self._shown(choice_of(chosen), [], uploaded)

    def _uploaded(self, path: str, *values: Any) -> tuple:
        *chosen, points = values
        try:
            image = read_upload(path, self._card.resolution)
        except InputError as error:
            gr.Warning(str(error), title="Not shown")
            return self._shown(choice_of(chosen), points)
        return self._shown(choice_of(chosen), points, image)

    def _picture(self, *values: Any) -> str:
        *chosen, points, uploaded = values
        choice = choice_of(chosen)
        data = saved_picture(self._scene(choice, uploaded), points, f"{self._card.name} · {to_query(choice, points)}")
        return "data:image/png;base64," + base64.b64encode(data).decode()

    def _opened(self, request: gr.Request) -> tuple:
        choice, points = from_query(dict(request.query_params), self._card.num_classes)
        if points is None:
            points = telling_points(self._stage.generated(choice))
        return *dataclasses.astuple(choice), *self._shown(choice, points)


def choice_of(values: list[Any]) -> Choice:
    """From the controls' values, in the order of its fields; an empty field counts as 0."""
    label, seed, truncation, other_seed, walk, other_label, mix = (value or 0 for value in values)
    return Choice(int(label), int(seed), float(truncation), int(other_seed), float(walk), int(other_label), float(mix))
