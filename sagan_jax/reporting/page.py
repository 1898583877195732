"""Makes the page: scores with their protocol, curves, samples, nearest real images, attention, and the settings."""

import base64
import html
import json
from collections.abc import Callable, Iterator
from typing import TypeVar

from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.evaluation.record import Evaluation, read_evaluation, shown_facts, shown_value
from sagan_jax.evaluation.scores import KINDS
from sagan_jax.reporting.curves import panels
from sagan_jax.runtime.settings import read_data, read_settings
from sagan_jax.runtime.workdir import (
    ATTENTION,
    CONFIG_FILE,
    DATA_FILE,
    EVALUATIONS,
    NEIGHBOURS,
    REAL,
    SAMPLES,
    read_metrics,
)

T = TypeVar("T")
EARLIER = 4  # pictures of earlier steps, of each kind

STYLE = """
:root { color-scheme: light; --ink: #222; --soft: #666; --line: #ddd; --paper: #fafaf8; --card: #fff; }
body { margin: 2rem auto; max-width: 68rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { margin: 0; font-size: 1.8rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.2rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1rem; }
figure { display: inline-block; box-sizing: border-box; max-width: 100%; margin: 0; padding: .8rem;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
figcaption { font-size: .85rem; color: var(--soft); } figure svg, figure img { max-width: 100%; height: auto; }
.wide, pre { overflow-x: auto; } h1, td, code { overflow-wrap: break-word; }
table { border-collapse: collapse; background: var(--card); font-size: .92rem; }
th, td { padding: .25rem .8rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 .6rem; } figure { padding: .4rem; } table, tbody { display: block; }
  tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--line); padding: .3rem .5rem; }
  th, td { padding: 0; border: 0; } td:empty { display: none; } td.soft, td[colspan] { grid-column: 1 / -1; }
}
"""


def report_page(workdir: epath.Path) -> str:
    """Returns the page about a run as HTML that needs no other file.

    Raises:
      InputError: the folder holds no run, or its files are damaged.
    """
    config = _of_run(read_settings, workdir / CONFIG_FILE)
    rows = read_metrics(workdir)
    sections = [
        *_scores(workdir),
        *_curves(rows),
        *_pictures(
            workdir,
            SAMPLES,
            "Samples",
            "Always of the same latents, not selected; with classes, each column is one latent.",
        ),
        *_pictures(
            workdir,
            NEIGHBOURS,
            "Nearest real images",
            "Each row is a sample and the real images nearest to it in feature space. The number is the distance of"
            " the nearest, in units of the median distance of a real image from its own nearest: near 0 it is a copy.",
        ),
        *_pictures(
            workdir,
            ATTENTION,
            "Attention",
            "What each marked point attends to, in every layer. An even one draws nothing.",
        ),
        *_pictures(workdir, REAL, "Real images", "Of the training data, in the rows of the sample sheets."),
        f"<h2>Settings</h2><details><summary>{CONFIG_FILE}</summary><pre>{_text(json.dumps(config, indent=2))}</pre>"
        "</details>",
    ]
    step = int(max((row["step"] for row in rows), default=0))
    about = f"{_about_data(workdir)} · step {step:,}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(workdir.name)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><header>"
        f'<h1>{_text(workdir.absolute().name)}</h1><p class="soft">{_text(about)}</p></header>\n'
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _scores(workdir: epath.Path) -> Iterator[str]:
    """Makes a table for each feature network, of its evaluation of the last step; of several, the newest file."""
    newest: dict[str, Evaluation] = {}
    files = (workdir / EVALUATIONS).glob("*.json")
    for file in sorted(files, key=lambda file: (file.name.partition("-")[0], file.stat().mtime, file.name)):
        evaluation = read_evaluation(file)
        newest[evaluation.network] = evaluation
    yield "<h2>Scores</h2>"
    if not newest:
        yield (
            f"<p>None yet. <code>python -m sagan_jax.evaluate --workdir={_text(str(workdir))}</code> measures some.</p>"
        )
    for evaluation in newest.values():
        lines = [
            f"<tr><th>{_text(score.name)} {'↓' if KINDS[score.kind] else '↑'}</th>"
            f'<td class="number">{_text(shown_value(score))}</td><td class="soft">{_text(score.about)}</td></tr>'
            for score in evaluation.scores
        ]
        lines += [
            f'<tr><th>{_text(part)}</th><td colspan="2">{_text(", ".join(shown_facts(facts)))}</td></tr>'
            for part, facts in evaluation.protocol.items()
        ]
        lines += [f'<tr><th>note</th><td colspan="2">{_text(warning)}</td></tr>' for warning in evaluation.warnings]
        yield '<div class="wide"><table>' + "\n".join(lines) + "</table></div><p></p>"


def _pictures(workdir: epath.Path, kind: str, title: str, about: str) -> Iterator[str]:
    """Shows the newest picture of a kind, and some earlier ones to unfold."""
    files = sorted(file for file in (workdir / kind).glob("*.png") if file.stem.isdecimal())
    if not files:
        return
    yield f'<h2>{title}</h2><p class="soft">{about}</p>{_figure(files[-1], title)}'
    earlier = files[:-1]
    for index in range(min(EARLIER, len(earlier))):
        file = earlier[index * len(earlier) // min(EARLIER, len(earlier))]
        yield f"<details><summary>step {int(file.stem):,}</summary>{_figure(file, title)}</details>"


def _figure(file: epath.Path, title: str) -> str:
    encoded = base64.b64encode(file.read_bytes()).decode()
    return f'<figure><img alt="{title} of step {int(file.stem):,}" src="data:image/png;base64,{encoded}"></figure>'


def _curves(rows: list[dict[str, float]]) -> Iterator[str]:
    figures = [f"<figure><figcaption>{_text(title)}</figcaption>{svg}</figure>" for title, svg in panels(rows)]
    if figures:
        yield '<h2>Curves</h2><div class="cards">' + "\n".join(figures) + "</div>"


def _about_data(workdir: epath.Path) -> str:
    facts = _of_run(read_data, workdir / DATA_FILE).data
    return f"{facts.name}, {facts.num_images:,} images, {len(facts.class_names)} classes"


def _of_run(read: Callable[[epath.Path], T], file: epath.Path) -> T:
    try:
        return read(file)
    except FileNotFoundError as error:
        raise InputError(f"{file.parent} is no folder of a run (no {file.name}): give another --workdir.") from error


def _text(text: str) -> str:
    return html.escape(text)
