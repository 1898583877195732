"""Makes the tables of docs/performance.md, and its plot, from the files of bench/results/.

python bench/report.py

Reads step_*.jsonl (lines of train_step.py and of the PyTorch peer, measured in one run), sweep_*.jsonl (of sweep.py)
and gpu_*.json (of gpu.sh), and rewrites what stands between the two marks of the page.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / "performance.png"
BEGIN, END = "<!-- made by bench/report.py -->", "<!-- end -->"
Row = dict[str, Any]


def main() -> None:
    """Rewrites page and plot."""
    results = ROOT / "bench" / "results"
    steps = {file.stem: read_lines(file) for file in sorted(results.glob("step_*.jsonl"))}
    for file in sorted(results.glob("gpu_*.json")):
        parts = json.loads(file.read_text())["parts"]
        steps[file.stem] = [row for part in parts.values() for row in part.get("found", ()) if "ms_median" in row]
    sweeps = {file.stem: read_lines(file) for file in sorted(results.glob("sweep_*.jsonl"))}
    before, _, rest = PAGE.read_text().partition(BEGIN)
    text = [line for name, rows in steps.items() for line in step_table(name, rows)]
    text += [line for name, rows in sweeps.items() for line in sweep_table(name, rows)]
    PAGE.write_text(before + "\n".join([BEGIN, "", *text, END]) + rest.partition(END)[2])
    plot(sweeps)


def read_lines(file: Path) -> list[Row]:
    """One dict per line of JSON."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def step_table(name: str, rows: list[Row]) -> Iterator[str]:
    """A markdown table of training steps, ours and the peer's."""
    yield from (f"### `{name}`", "")
    yield "| program | config | batch | dtype | ms per step | images/s | GFLOP per image | of the matmul rate | GiB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        if row.get("framework") == "torch":
            form = " ".join(word for word in (row["compile"] or "eager", row["fold_resample"] and "folded") if word)
            cells = [f"PyTorch {row['torch']}, {form}", row["config"], row["batch"], row["precision"]]
            work = ["", "", f"{row['peak_memory_mib'] / 1024:.2f}"]
        else:
            cells = [f"sagan_jax, jax {row['jax']}", row["config"], row["batch_size"], row["compute_dtype"]]
            work = [f"{row['gflop_per_image']:.4g}", f"{row['mfu']:.0%}", f"{row['peak_memory_gib']:.2f}"]
        cells += [f"{row['ms_median']:,.4g}", f"{row['generator_step_images_per_s']:,.4g}", *work]
        yield f"| {' | '.join(map(str, cells))} |"
    device = next((row["device"] for row in rows if "framework" not in row), "")
    yield from ("", f"Device: {device}. Images are those of a generator update; the median of several rounds.", "")


def sweep_table(name: str, rows: list[Row]) -> Iterator[str]:
    """A markdown table of one number that varies."""
    yield from (f"### `{name}`", "")
    first = rows[0]
    yield f"`{first['config']}` {' '.join(first['set'])} on {first['device']}, jax {first['jax']}."
    yield from ("", f"| {first['varied']} | ms per step | images/s | GFLOP per image | temporary GiB | compile s |")
    yield "|---|---|---|---|---|---|"
    for row in rows:
        speed = f"{row['ms_median']:,.4g} | {row['real_images_per_s']:,.4g} | {row['gflop_per_image']:.4g}"
        yield f"| {row['value']} | {speed} | {row['compiled_temporary_gib']:.3g} | {row['compile_s_cold']:.3g} |"
    yield ""


def plot(sweeps: dict[str, list[Row]]) -> None:
    """Milliseconds per step against each number that was varied over more than two values."""
    shown = {name: rows for name, rows in sweeps.items() if all(isinstance(row["value"], int) for row in rows)}
    figure, axes = plt.subplots(1, len(shown), figsize=(5 * len(shown), 3.6), squeeze=False, layout="constrained")
    for axis, (name, rows) in zip(axes[0], shown.items(), strict=True):
        values, times = [row["value"] for row in rows], [row["ms_median"] for row in rows]
        axis.loglog(values, times, "o-", base=2)
        axis.set_xticks(values, [str(value) for value in values])
        axis.set_yticks(times, [f"{time:,.3g}" for time in times])
        axis.minorticks_off()
        axis.set(title=name, xlabel=rows[0]["varied"], ylabel="ms per step")
        axis.grid(alpha=0.3)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=110)


if __name__ == "__main__":
    main()
