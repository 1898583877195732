"""Makes the tables and plots of docs/results.md from the files of bench/results/.

python bench/results_page.py

Reads quality_*.json (of quality.py) and ablation_*.jsonl (of ablation.py), and rewrites what stands between the marks.
"""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt
from report import ROOT, Row, read_lines, rewrite

PAGE, IMAGES = ROOT / "docs" / "results.md", ROOT / "docs" / "images"
FRACTIONS = ("precision", "recall", "coverage", "label_accuracy")
SHOWN = ("precision", "recall", "density", "coverage", "label_accuracy")


def main() -> None:
    """Rewrites page and plots."""
    results = ROOT / "bench" / "results"
    qualities = {file.stem: json.loads(file.read_text()) for file in sorted(results.glob("quality_*.json"))}
    lines = list(quality_table(qualities)) if qualities else []
    for file in sorted(results.glob("ablation_*.jsonl")):
        rows = read_lines(file)
        plot(rows, IMAGES / f"{file.stem}.png")
        lines += ablation_table(file.stem, rows)
    rewrite(PAGE, lines)


def quality_table(found: dict[str, Row]) -> Iterator[str]:
    """Yields a markdown table of the last scores of each run."""
    yield from ("### Runs", "", "| run | budget | device | steps | " + " | ".join(head(found)) + " |")
    yield "|---" * (4 + len(head(found))) + "|"
    for name, run in found.items():
        values = last_values(run)
        step = run["points"][-1].get("step")
        cells = [f"`{name.removeprefix('quality_')}`", budget_of(run), run["device"], f"{step:,}" if step else ""]
        yield f"| {' | '.join([*cells, *(shown(key, values.get(key)) for key in head(found))])} |"
    yield ""
    yield from (protocol_of(next(iter(found.values()))), "")


def ablation_table(name: str, rows: list[Row]) -> Iterator[str]:
    """Yields a markdown table with a row per question: means over the seeds, and each seed's main distance."""
    distance, intra = keys_of(rows[0])
    yield from (f"### `{name}`", "", f"| change | {distance} (each seed) | {' | '.join((intra, *SHOWN))} |")
    yield "|---" * (3 + len(SHOWN)) + "|"
    for question, runs in by_question(rows).items():
        values = [last_values(run) for run in runs]
        each = ", ".join(f"{value[distance]:.2f}" for value in values)
        mean = {key: statistics.mean(value[key] for value in values) for key in (distance, intra, *SHOWN)}
        cells = [question, f"**{mean[distance]:.2f}** ({each})", *(shown(key, mean[key]) for key in (intra, *SHOWN))]
        yield f"| {' | '.join(cells)} |"
    first = rows[0]
    yield from ("", f"![{distance} against steps](images/{name}.png)", "")
    yield f"`{first['config']}`, {budget_of(first)} each, {made_with(first)}"
    yield from (protocol_of(first), "")


def by_question(rows: list[Row]) -> dict[str, list[Row]]:
    """Returns the runs of each question."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["question"], []).append(row)
    return found


def head(found: dict[str, Row]) -> list[str]:
    """Returns the columns of scores: Frechet distances of all runs, then what all have."""
    distances = {
        key: None for run in found.values() for key in last_values(run) if key.startswith(("fd_", "fid", "intra"))
    }
    return [*distances, *SHOWN]


def keys_of(run: Row) -> tuple[str, str]:
    """Returns the names of the first Frechet distance and of that within classes."""
    values = last_values(run)
    first = next(key for key in values if key.startswith(("fid", "fd_")))
    return first, next(key for key in values if key.startswith("intra_class"))


def last_values(run: Row) -> dict[str, float]:
    """Returns each score of the last checkpoint; of several feature networks' precisions, the first one's."""
    values: dict[str, float] = {}
    for scores in run["points"][-1]["scores"]:
        values = {key: score["value"] for key, score in scores["scores"].items()} | values
    return values


def shown(key: str, value: float | None) -> str:
    """Formats a table's cell."""
    if value is None:
        return "not measured"
    return f"{value:.1%}".replace("%", " %") if key in FRACTIONS else f"{value:.3g}"


def budget_of(run: Row) -> str:
    """Returns steps or minutes; of another tool's images, nothing if that is not known."""
    if "minutes" in run:
        return f"{run['minutes']:g} minutes"
    return f"{run['steps']:,} steps ({run['seconds'] / 60:.1f} minutes)" if run["steps"] else ""


def made_with(run: Row) -> str:
    """Returns hardware and versions."""
    return f"{run['device']}, jax {run['jax']}, commit {run['commit']}."


def protocol_of(run: Row) -> str:
    """Returns a sentence about what was compared with what."""
    protocols: list[dict[str, Any]] = [scores["protocol"] for scores in run["points"][-1]["scores"]]
    generated, real = protocols[0]["generated"], protocols[0]["real"]
    features = ", ".join(str(protocol["features"]["network"]) for protocol in protocols)
    return f"Scores: {generated['images']:,} generated against {real['images']:,} real images; features: {features}."


def plot(rows: list[Row], file: Path) -> None:
    """Plots the Frechet distance against steps, a line per run, a colour per question."""
    distance, _ = keys_of(rows[0])
    figure, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for index, (question, runs) in enumerate(by_question(rows).items()):
        for seed, run in enumerate(runs):
            steps = [point["step"] for point in run["points"]]
            values = [point["scores"][0]["scores"][distance]["value"] for point in run["points"]]
            axis.plot(steps, values, "o-", color=f"C{index}", label=question if seed == 0 else None, alpha=0.8)
    axis.set(xlabel="steps", ylabel=distance, ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=9)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
