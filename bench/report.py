"""Makes the tables of docs/performance.md and docs/tpu.md, and a plot, from the files of bench/results/.

python bench/report.py

Reads step_*.jsonl (lines of train_step.py and of the PyTorch peer, measured in one run), sweep_*.jsonl (of sweep.py),
operations_*.jsonl (of operations.py), gpu_*.json (of gpu.sh) and tpu_aot.json (of tpu_aot.py), and rewrites what stands
between the two marks of each page.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from hbm_traffic import PARTS
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / "performance.png"
TPU_PAGE = ROOT / "docs" / "tpu.md"
BEGIN, END = "<!-- made by bench/report.py -->", "<!-- end -->"
Row = dict[str, Any]
HBM = "hbm_gb_per_step_and_chip"  # of rows of tpu_aot.py, by part


def main() -> None:
    """Rewrites pages and plot."""
    results = ROOT / "bench" / "results"
    steps = {file.stem: read_lines(file) for file in sorted(results.glob("step_*.jsonl"))}
    layers = {file.stem: read_lines(file)[-1] for file in sorted(results.glob("operations_*.jsonl"))}
    for file in sorted(results.glob("gpu_*.json")):
        found = [row for part in json.loads(file.read_text())["parts"].values() for row in part.get("found", ())]
        steps[file.stem] = [row for row in found if "ms_median" in row]
        layers |= {f"{file.stem}, layers": row for row in found if "operations" in row}
    sweeps = {file.stem: read_lines(file) for file in sorted(results.glob("sweep_*.jsonl"))}
    text = [line for name, rows in steps.items() for line in step_table(name, rows)]
    text += [line for name, rows in sweeps.items() for line in sweep_table(name, rows)]
    text += [line for name, found in layers.items() for line in layer_table(name, found)]
    rewrite(PAGE, text)
    rewrite(TPU_PAGE, tpu_table(json.loads((results / "tpu_aot.json").read_text())))
    plot(sweeps)


def rewrite(page: Path, lines: Iterable[str]) -> None:
    """Puts the lines between the two marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + "\n".join([BEGIN, "", *lines, END]) + rest.partition(END)[2])


def read_lines(file: Path) -> list[Row]:
    """Reads one dict per line of JSON."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def step_table(name: str, rows: list[Row]) -> Iterator[str]:
    """Yields a markdown table of training steps, ours and the peer's."""
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
    """Yields a markdown table of one number that varies."""
    yield from (f"### `{name}`", "")
    first = rows[0]
    yield f"`{first['config']}` {' '.join(first['set'])} on {first['device']}, jax {first['jax']}."
    yield from ("", f"| {first['varied']} | ms per step | images/s | GFLOP per image | temporary GiB | compile s |")
    yield "|---|---|---|---|---|---|"
    for row in rows:
        speed = f"{row['ms_median']:,.4g} | {row['real_images_per_s']:,.4g} | {row['gflop_per_image']:.4g}"
        yield f"| {row['value']} | {speed} | {row['compiled_temporary_gib']:.3g} | {row['compile_s_cold']:.3g} |"
    yield ""


def layer_table(name: str, found: Row) -> Iterator[str]:
    """Yields a markdown table of each layer's operations beside their floor, the chip's roofline."""
    yield from (f"### `{name}`", "")
    yield f"`{found['config']}`, batch {found['batch_size']}, {found['dtype']}, on {found['device']}."
    yield f"Matrix product {found['matmul_tflop_per_s']:.3g} TFLOP/s, copy {found['copy_gb_per_s']:.4g} GB/s."
    yield from ("", "| layer | form | GFLOP | MB | bound by | ms | of the floor | ms with gradients | of the floor |")
    yield "|---" * 9 + "|"
    for row in found["operations"]:
        cells = [row["layer"], row["form"], f"{row['flops'] / 1e9:.3g}", f"{row['bytes'] / 1e6:.3g}", row["bound"]]
        for time, floor in (("forward_ms", "floor_ms"), ("with_gradients_ms", "floor_with_gradients_ms")):
            cells += [f"{row[time]:.3g}", f"{row[floor] / row[time]:.0%}"]
        yield f"| {' | '.join(cells)} |"
    yield ""


def tpu_table(rows: list[Row]) -> Iterator[str]:
    """Yields three markdown tables of compiled steps: work and memory, HBM traffic, communication between the chips."""
    program = "| slice | config | chips | batch |"
    yield f"{program} GFLOP per image | arguments | temporary | code | GiB in all | fits |"
    yield "|---" * 10 + "|"
    for row in rows:
        if "error" in row:
            yield f"| {' | '.join(tpu_program(row))} | {row['error']} | | | | | |"
            continue
        sizes = [f"{row[f'{part}_gib']:.3g}" for part in ("arguments", "temporary", "code", "total")]
        chips = ", ".join(chip for chip, fits in row["fits"].items() if fits) or "none"
        flops = f"{row['gflop_per_image']:.3g}"
        yield f"| {' | '.join([*tpu_program(row), flops, *sizes, chips])} |"
    yield from ("", *hbm_table([row for row in rows if HBM in row], program))
    kinds = sorted({kind for row in rows for kind in row.get("collectives", ())})
    yield from ("", f"{program} {' | '.join(kinds)} | compile s |")
    yield "|---" * (len(kinds) + 5) + "|"
    for row in rows:
        found = [row.get("collectives", {}).get(kind, ()) for kind in kinds]
        cells = [f"{len(sizes)}, {sum(sizes) / 1e6:,.3g} MB" if sizes else "" for sizes in found]
        yield f"| {' | '.join([*tpu_program(row), *cells])} | {row['compile_s']:.0f} |"
    versions = sorted({f"jax {row['jax']} and libtpu {row['libtpu']}" for row in rows})
    yield from ("", f"Compiled with {', '.join(versions)}.", "")


def hbm_table(rows: list[Row], program: str) -> Iterator[str]:
    """Yields a markdown table of the GB that a chip reads and writes in a step, and of the least time for them."""
    yield f"{program} {' | '.join(PARTS)} | GB of HBM in all | ms at its rate | ms of compute at the peak |"
    yield "|---" * (len(PARTS) + 7) + "|"
    for row in rows:
        sizes = [*row[HBM].values(), sum(row[HBM].values())]
        cells = [f"{size:.3g}" for size in (*sizes, row["hbm_ms_at_peak"], row["compute_ms_at_peak"])]
        yield f"| {' | '.join([*tpu_program(row), *cells])} |"


def tpu_program(row: Row) -> list[str]:
    """Returns the cells that identify what was compiled."""
    config = " ".join([f"`{row['config']}`", *row["set"]])
    return [row["slice"], config, str(row["devices"]), str(row["batch_size"])]


def plot(sweeps: dict[str, list[Row]]) -> None:
    """Plots milliseconds per step against each number that was varied over more than two values."""
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
