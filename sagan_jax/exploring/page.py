"""The explorer's page: what is shown for a choice, and what an event changes."""

import base64
import dataclasses
import html
import random
import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.exploring.behaviour import COPY_LINK, DOWNLOAD, LINK_FIELD, ON_CLICK, SHOW_LINK, readout
from sagan_jax.exploring.controls import Controls, build_controls, choice_of
from sagan_jax.exploring.curve import moment_html
from sagan_jax.exploring.figure import figure_png
from sagan_jax.exploring.link import from_query, to_query
from sagan_jax.exploring.points import DECIMALS, Point, suggest_points, with_point
from sagan_jax.exploring.scene import Choice, Scene
from sagan_jax.exploring.stage import Stage
from sagan_jax.exploring.timeline import Timeline
from sagan_jax.exploring.upload import read_upload
from sagan_jax.exploring.view import CLICK, READING, layers_html, picture_html, stage_html
from sagan_jax.exploring.wording import subject

CSS = "".join(Path(__file__).with_name(name).read_text() for name in ("look.css", "controls.css"))
# The frame of the page: Gradio puts all other rules inside of it.
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1"><style>
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
.gradio-container { padding: 0 clamp(4px, 1.6vw, 20px) 32px !important; min-width: 0 !important; }
.gradio-container .main.fillable { padding: 18px clamp(8px, 1vw, 12px) !important; min-width: 0 !important; }
</style>"""
FORGET = (600, 3600)  # seconds: how often Gradio looks for uploads that nobody read, and how old these are at least


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
        title = f"{self._card.name} · sagan_jax"
        with gr.Blocks(title=title, analytics_enabled=False, fill_width=True, delete_cache=FORGET) as page:
            gr.HTML(self._heading(), elem_id="title")
            with gr.Row(elem_id="main"):
                with gr.Column(elem_id="left"):
                    stage = gr.HTML(js_on_load=ON_CLICK, elem_id="stage")
                    controls = build_controls(self._card)
                    buttons = self._buttons()
                with gr.Column(elem_id="right"):
                    layers = gr.HTML(js_on_load=ON_CLICK, elem_id="layers")
                    gr.HTML(READING, elem_id="reading")
                    self._training()
            self._connect(page, stage, layers, controls, buttons)
        return page

    def _heading(self) -> str:
        card = self._card
        facts = [f"{card.resolution} px", f"{card.num_classes} classes" if card.num_classes else "no classes"]
        facts += [] if card.step is None else [f"step {card.step:,}"]
        of_both = "" if self._stage.model.discriminator is None else " of both networks"
        what = f"{CLICK} on the image to see where that point looks, in every attention layer{of_both}."
        return f"<h1>{html.escape(card.name)} <small>{' · '.join(facts)}</small></h1><p>{what}</p>"

    def _buttons(self) -> dict[str, Any]:
        with gr.Column(elem_id="actions"):
            with gr.Row():
                suggest = gr.Button("Suggest points", elem_id="suggest", min_width=80)
                clear = gr.Button("Clear points", elem_id="clear", min_width=80)
            with gr.Row():
                save = gr.Button("Save picture", elem_id="save", min_width=80)
                copy = gr.Button("Copy link", elem_id="copy", min_width=80)
            gr.HTML(LINK_FIELD)
            with gr.Row(visible=self._stage.model.discriminator is not None):
                upload = gr.UploadButton(
                    "Judge an image of yours", file_types=["image"], elem_id="upload", min_width=80
                )
                back = gr.Button("Back to generated", visible=False, elem_id="back", min_width=80)
        return {"suggest": suggest, "clear": clear, "save": save, "copy": copy, "upload": upload, "back": back}

    def _training(self) -> None:
        timeline = self._timeline
        if not timeline or not timeline.sheets:
            return
        steps = list(timeline.sheets)
        last = len(steps) - 1
        with gr.Column(elem_id="training"):
            gr.HTML(f"<style>:root{{--moment:'{steps[last]:,} steps'}}</style><h2>How it came to this</h2>")
            at = gr.Slider(
                0, max(1, last), last, step=1, label="Samples after", elem_id="moment", buttons=[], visible=last > 0
            )
            moment = gr.HTML(moment_html(timeline, steps[last]))
            at.change(None, at, None, js=readout("moment", f"{[f'{step:,} steps' for step in steps]}[value]"))
            changed: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
            at.input(lambda index: moment_html(timeline, steps[int(index)]), at, moment, **changed)

    def _connect(self, page: gr.Blocks, stage: gr.HTML, layers: gr.HTML, controls: Controls, buttons: dict) -> None:
        points, uploaded = gr.State([]), gr.State(None)
        link, file, name = (gr.Textbox(visible="hidden") for _ in range(3))
        everything = [*controls.inputs, points, uploaded]
        outputs = [gr.HTML(), stage, layers, link, points, uploaded, buttons["back"]]
        quick: dict[str, Any] = {"show_progress": "hidden", "queue": False}  # one exchange instead of Gradio's queue
        shown: dict[str, Any] = quick | {"inputs": everything, "outputs": outputs}
        newest: dict[str, Any] = shown | {"trigger_mode": "always_last"}  # of many changes while a slider is dragged

        of_generated = [control.input for control in controls.inputs if control is not controls.label]
        drawn = controls.another.click(lambda: random.randrange(10_000), None, controls.seed, **quick)
        events = [
            gr.on(of_generated, self._generated, **newest),
            controls.label.input(self._shown, **newest),
            drawn.then(self._generated, **shown),
            buttons["back"].click(self._generated, **shown),
            stage.click(self._clicked, **shown, trigger_mode="multiple"),
            layers.click(self._clicked, **shown, trigger_mode="multiple"),
            buttons["suggest"].click(self._suggested, **shown),
            buttons["clear"].click(self._cleared, **shown),
            buttons["upload"].upload(  # in the queue, by which warnings come
                self._uploaded, **shown | {"inputs": [buttons["upload"], *everything], "queue": True}
            ),
            page.load(self._opened, None, [*controls.inputs, *outputs], **quick),
        ]
        for event in events:
            event.then(None, link, None, js=SHOW_LINK)
        saved = buttons["save"].click(self._picture, everything, [file, name], **quick)
        saved.then(None, [file, name], None, js=DOWNLOAD)
        buttons["copy"].click(None, None, None, js=COPY_LINK)

    def _scene(self, choice: Choice, uploaded: np.ndarray | None) -> Scene:
        return self._stage.generated(choice) if uploaded is None else self._stage.discriminated(uploaded, choice.label)

    def _shown(self, *values: Any) -> tuple:
        """What the page shows; the values are those of the controls, the points and the uploaded image or None."""
        *chosen, points, uploaded = values
        return picture_html(self._scene(choice_of(chosen), uploaded)), *self._marked(chosen, points, uploaded)[1:]

    def _marked(self, chosen: list[Any], points: list[Point], uploaded: np.ndarray | None) -> tuple:
        """The same, where the image has not changed."""
        choice = choice_of(chosen)
        scene = self._scene(choice, uploaded)
        stage = stage_html(scene, points, subject(choice, self._card.class_names, uploaded is not None))
        back = gr.update(visible=uploaded is not None)
        return gr.skip(), stage, layers_html(scene, points), to_query(choice, points), points, uploaded, back

    def _generated(self, *values: Any) -> tuple:
        return self._shown(*values[:-1], None)

    def _clicked(self, event: gr.EventData, *values: Any) -> tuple:
        *chosen, points, uploaded = values
        x, y = (round(min(1.0, max(0.0, float(event._data[name]))), DECIMALS) for name in "xy")
        return self._marked(chosen, with_point(points, (x, y)), uploaded)

    def _suggested(self, *values: Any) -> tuple:
        *chosen, _, uploaded = values
        return self._marked(chosen, suggest_points(self._scene(choice_of(chosen), uploaded)), uploaded)

    def _cleared(self, *values: Any) -> tuple:
        *chosen, _, uploaded = values
        return self._marked(chosen, [], uploaded)

    def _uploaded(self, path: str, *values: Any) -> Any:
        *chosen, points, _ = values
        try:
            return self._shown(*chosen, points, read_upload(path, self._card.resolution))
        except InputError as error:
            gr.Warning(str(error))
            return gr.skip()  # what is shown stays, an image that was uploaded before as well
        finally:
            Path(path).unlink(missing_ok=True)

    def _picture(self, *values: Any) -> tuple[str, str]:
        *chosen, points, uploaded = values
        choice = choice_of(chosen)
        what = subject(choice, self._card.class_names, uploaded is not None)
        title = f"{self._card.name} · {what}"
        data = figure_png(self._scene(choice, uploaded), points, title, to_query(choice, points))
        name = "_".join(re.findall(r"\w+", title)) + ".png"
        return "data:image/png;base64," + base64.b64encode(data).decode(), name

    def _opened(self, request: gr.Request) -> tuple:
        choice, points = from_query(dict(request.query_params), self._card.num_classes)
        if points is None:
            points = suggest_points(self._stage.generated(choice))
        chosen = dataclasses.astuple(choice)
        return *chosen, *self._shown(*chosen, points, None)
