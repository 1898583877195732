"""The explorer's page: its parts, and what each event changes."""

import base64
import dataclasses
import html
import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.exploring.choice import Choice, from_query, from_values, subject, to_query, with_point
from sagan_jax.exploring.controls import (
    COPY_LINK,
    DOWNLOAD,
    SHOW_LINK,
    Buttons,
    Controls,
    build_controls,
    script,
    show_readout,
)
from sagan_jax.exploring.figure import figure_png
from sagan_jax.exploring.scene import Scene, suggest_points
from sagan_jax.exploring.stage import MAX_UPLOAD_BYTES, Stage, read_upload
from sagan_jax.exploring.timeline import Timeline, moment_html
from sagan_jax.exploring.view import CLICK, READING, image_html, layers_html, notice_html, picture_html
from sagan_jax.sampling.attention_layer import DECIMALS, Point

# The frame of the page: Gradio puts all other rules inside of it.
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1"><style>
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
.gradio-container { padding: 0 clamp(4px, 1.6vw, 20px) 32px !important; min-width: 0 !important; }
.gradio-container { overflow: clip !important; } /* Gradio's `hidden` would keep the image from staying in view */
.gradio-container .main.fillable { padding: 18px clamp(8px, 1vw, 12px) !important; min-width: 0 !important; }
</style>"""
# What `launch` needs to show the page as it is meant.
LAUNCH: dict[str, Any] = {
    "css": "".join(Path(__file__).with_name(name).read_text() for name in ("look.css", "controls.css")),
    "head": HEAD,
    "theme": gr.themes.Base(primary_hue="neutral", radius_size="lg", font=["system-ui"], font_mono=["monospace"]),
    "footer_links": [],
    "max_file_size": MAX_UPLOAD_BYTES,
    "quiet": True,
    "prevent_thread_lock": True,
}
UPLOAD_CLEANUP = (600, 3600)  # seconds: how often Gradio deletes uploads that nobody read, and from which age on


class View(NamedTuple):
    """What a visitor sees: an image of a choice or an uploaded one, points on it, and what is wrong, if anything."""

    choice: Choice
    points: list[Point]
    uploaded: np.ndarray | None
    notice: str = ""


class Page:
    """The page of one model.

    Args:
      stage: makes the images.
      timeline: of the model's training, or None.
      origin: where the model is from, by which tabs of the browser differ; or "".
    """

    def __init__(self, stage: Stage, timeline: Timeline | None, origin: str = ""):
        self._stage, self._timeline, self._origin = stage, timeline, origin
        self._card = stage.model.card
        self._has_discriminator = stage.model.discriminator is not None

    def build(self) -> gr.Blocks:
        """Builds the page; `launch(**LAUNCH)` serves it."""
        with gr.Blocks(
            title=self._tab_title(), analytics_enabled=False, fill_width=True, delete_cache=UPLOAD_CLEANUP
        ) as page:
            gr.HTML(self._heading(), elem_id="title")
            with gr.Row(elem_id="main"):
                with gr.Column(elem_id="left"):
                    image = gr.HTML(js_on_load=script("image.js"), elem_id="stage")
                    notice = gr.HTML(elem_id="notice")
                    controls, buttons = build_controls(self._card, with_discriminator=self._has_discriminator)
                with gr.Column(elem_id="right"):
                    layers = gr.HTML(js_on_load=script("image.js"), elem_id="layers")
                    gr.HTML(READING, elem_id="reading")
                    if self._timeline and self._timeline.sheets:
                        _build_training(self._timeline)
            self._connect(page, (image, layers, notice), controls, buttons)
        return page

    def _tab_title(self) -> str:
        step = [] if self._card.step is None else [f"step {self._card.step:,}"]
        return " · ".join([self._card.name, *step, *([self._origin] if self._origin else []), "sagan_jax"])

    def _heading(self) -> str:
        card = self._card
        facts = [f"{card.resolution} px", f"{card.num_classes:,} classes" if card.num_classes else "no classes"]
        facts += [] if card.step is None else [f"step {card.step:,}"]
        of_both = " of both networks" if self._has_discriminator else ""
        what = f"{CLICK} on the image to see what that point attends to, in every attention layer{of_both}."
        return f"<h1>{html.escape(card.name)} <small>{' · '.join(facts)}</small></h1><p>{what}</p>"

    def _connect(
        self, page: gr.Blocks, parts: tuple[gr.HTML, gr.HTML, gr.HTML], controls: Controls, buttons: Buttons
    ) -> None:
        image, layers, notice = parts
        points, uploaded, shown_choice = gr.State([]), gr.State(None), gr.State(Choice())
        link, file, name = (gr.Textbox(visible="hidden") for _ in range(3))
        inputs = [*controls, points, uploaded, shown_choice]
        outputs = [gr.HTML(), image, layers, link, points, uploaded, buttons.back, shown_choice, notice]
        quick: dict[str, Any] = {"show_progress": "hidden", "queue": False}  # one exchange instead of Gradio's queue
        shown: dict[str, Any] = quick | {"inputs": inputs, "outputs": outputs}
        newest: dict[str, Any] = shown | {"trigger_mode": "always_last"}  # of many changes while a slider is dragged

        of_generated = [control.input for control in controls if control is not controls.label]
        drawn = buttons.another.click(lambda: random.randrange(10_000), None, controls.seed, **quick)
        events = [
            gr.on(of_generated, self._on_generate, **newest),
            controls.label.input(self._on_class, **newest),
            drawn.then(self._on_generate, **shown),
            buttons.back.click(self._on_generate, **shown),
            image.click(self._on_click, **shown, trigger_mode="multiple"),
            layers.click(self._on_click, **shown, trigger_mode="multiple"),
            buttons.suggest.click(self._on_suggest, **shown),
            buttons.clear.click(self._on_clear, **shown),
            buttons.upload.upload(  # in the queue, by which warnings come
                self._on_upload, **shown | {"inputs": [buttons.upload, *inputs], "queue": True}
            ),
            page.load(self._on_load, None, [*controls, *outputs], **quick),
        ]
        for event in events:
            event.then(None, link, None, js=SHOW_LINK)
        saved = buttons.save.click(self._on_save, inputs, [file, name], **quick)
        saved.then(None, [file, name], None, js=DOWNLOAD)
        buttons.copy.click(None, None, None, js=COPY_LINK)

    def _scene(self, choice: Choice, uploaded: np.ndarray | None) -> Scene:
        return self._stage.generated(choice) if uploaded is None else self._stage.of_image(uploaded, choice.label)

    def _subject(self, choice: Choice, uploaded: np.ndarray | None) -> str:
        return subject(choice, self._card.class_names, uploaded=uploaded is not None)

    def _show(self, view: View) -> tuple:
        """Returns the values of all outputs."""
        return picture_html(self._scene(view.choice, view.uploaded)), *self._show_points(view)[1:]

    def _show_points(self, view: View) -> tuple:
        """Returns the same where the image stays."""
        choice, points, uploaded, notice = view
        scene = self._scene(choice, uploaded)
        image = image_html(scene, points, self._subject(choice, uploaded))
        back = gr.update(visible=uploaded is not None)
        link, layers = to_query(choice, points), layers_html(scene, points)
        return gr.skip(), image, layers, link, points, uploaded, back, choice, notice_html(notice)

    def _view(self, values: tuple) -> View:
        """Returns the view of the handlers' values: of the controls, the points, the uploaded image, the shown choice.

        Where a field is wrong, all of what was shown before stays.
        """
        *chosen, points, uploaded, shown = values
        try:
            return View(from_values(chosen), points, uploaded)
        except InputError as error:
            return View(shown, points, uploaded, f"{error} Shown is still {self._subject(shown, uploaded)}.")

    def _on_class(self, *values: Any) -> tuple:
        return self._show(self._view(values))

    def _on_generate(self, *values: Any) -> tuple:
        view = self._view(values)
        return self._show(view if view.notice else view._replace(uploaded=None))

    def _on_click(self, event: gr.EventData, *values: Any) -> tuple:
        view = self._view(values)
        x, y = (round(min(1.0, max(0.0, float(event._data[name]))), DECIMALS) for name in "xy")
        return self._show_points(view._replace(points=with_point(view.points, (x, y))))

    def _on_suggest(self, *values: Any) -> tuple:
        view = self._view(values)
        return self._show_points(view._replace(points=suggest_points(self._scene(view.choice, view.uploaded))))

    def _on_clear(self, *values: Any) -> tuple:
        return self._show_points(self._view(values)._replace(points=[]))

    def _on_upload(self, path: str, *values: Any) -> Any:
        try:
            return self._show(self._view(values)._replace(uploaded=read_upload(path, self._card.resolution)))
        except InputError as error:
            gr.Warning(str(error))
            return gr.skip()  # what is shown stays, an image that was uploaded before as well
        finally:
            Path(path).unlink(missing_ok=True)

    def _on_save(self, *values: Any) -> tuple[str, str]:
        choice, points, uploaded, _ = self._view(values)
        title = f"{self._card.name} · {self._subject(choice, uploaded)}"
        data = figure_png(self._scene(choice, uploaded), points, title, to_query(choice, points))
        name = "_".join(re.findall(r"\w+", title)) + ".png"
        return "data:image/png;base64," + base64.b64encode(data).decode(), name

    def _on_load(self, request: gr.Request) -> tuple:
        try:
            (choice, points), notice = from_query(dict(request.query_params), self._card.num_classes), ""
        except InputError as error:
            choice, points, notice = Choice(), None, f"Nothing of this link is used, since {error}"
        if points is None:
            points = suggest_points(self._stage.generated(choice))
        return *dataclasses.astuple(choice), *self._show(View(choice, points, None, notice))


def _build_training(timeline: Timeline) -> None:
    """Builds the panel with the training's time line in the current column."""
    steps = list(timeline.sheets)
    last = len(steps) - 1
    with gr.Column(elem_id="training"):
        gr.HTML(f"<style>:root{{--moment:'{steps[last]:,} steps'}}</style><h2>How it came to this</h2>")
        slider = gr.Slider(
            0, max(1, last), last, step=1, label="Samples after", elem_id="moment", buttons=[], visible=last > 0
        )
        moment = gr.HTML(moment_html(timeline, steps[last]), js_on_load=script("sheet.js"))
        show_readout(slider, f"{[f'{step:,} steps' for step in steps]}[value]")
        changed: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
        slider.input(lambda index: moment_html(timeline, steps[int(index)]), slider, moment, **changed)
