"""The paper's questions, or what helps small data sets: one change at a time, for the same budget and several seeds.

python bench/ablation.py --config=cifar10_small --steps=3000 --seeds=2 --folder=runs/ablation_cpu
    --features=resnet56_cifar10=FILE [--questions=paper] [--only=NAME --only=NAME] [--set=FIELD=VALUE] [--points=3]
    [--samples=10000]

Runs bench/quality.py for each change and seed, seeds in the outer loop; what is done already is not done again. Writes
bench/results/NAME_OF_FOLDER.jsonl, one line per run, and renews docs/results.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import results_page
from experiment import ROOT

# The fields that each question changes; the first has none.
PAPER: dict[str, tuple[str, ...]] = {
    "attention at 16x16": (),
    "no attention": ("model.generator.attention=()", "model.discriminator.attention=()"),
    "attention at 8x8": ("model.generator.attention=(8,)", "model.discriminator.attention=(8,)"),
    "attention at 32x32 of G": ("model.generator.attention=(32,)", "model.discriminator.attention=()"),
    "a local block at 16x16 instead": (
        *("model.generator.attention=()", "model.discriminator.attention=()"),
        *("model.generator.local_block=(16,)", "model.discriminator.local_block=(16,)"),
    ),
    "class tables normalised too": ("model.generator.spectral_norm=kernels and class tables",),
    "spectral norm in D only": ("model.generator.spectral_norm=nothing",),
    "equal learning rates": (
        "optimizer.generator.learning_rate=4e-4",
        "optimizer.discriminator.learning_rate=4e-4",
    ),
}
REMEDIES: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "color, translation, cutout": ("train.augmentations=color,translation,cutout",),
    "adaptive bgc": (
        *("train.augmentations=bgc", "train.augmentation_target=0.6"),
        "train.augmentation_images=20000",  # of some 50,000 that a run sees
    ),
    "r1": ("train.penalties=r1:1",),
    "lecam": ("train.penalties=lecam:0.3",),
    "bcr": ("train.penalties=bcr:10",),
    "zcr": ("train.penalties=zcr_d:5,zcr_g:0.5",),
    "top-k": ("train.top_k=0.5", "train.top_k_steps=1000"),
    "relativistic with r1 and r2": ("train.loss=relativistic", "train.penalties=r1:1,r2:1"),
    "color, translation, cutout and lecam": (
        *("train.augmentations=color,translation,cutout", "train.penalties=lecam:0.3"),
    ),
    "color, translation, cutout and r1": (*("train.augmentations=color,translation,cutout", "train.penalties=r1:1"),),
}
QUESTIONS = {"paper": PAPER, "remedies": REMEDIES}


def main() -> None:
    """Runs what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True, help="for the runs")
    parser.add_argument("--features", action="append", required=True, metavar="NAME[=FILE]")
    parser.add_argument(
        "--questions", choices=QUESTIONS, default="paper", help="of the paper, or what helps small sets"
    )
    parser.add_argument("--only", action="append", help="questions to ask; by default all")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of all runs")
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10_000)
    flags = parser.parse_args()
    questions = QUESTIONS[flags.questions]
    if unknown := set(flags.only or ()) - questions.keys():
        parser.error(f"--only: choose from {', '.join(questions)}, not {', '.join(unknown)}")
    asked = flags.only or list(questions)
    for seed in range(flags.seeds):
        for question in asked:
            out = flags.folder / f"{question.replace(' ', '_')}-{seed}.json"
            if not out.exists():
                print(f"--- {question}, seed {seed}", flush=True)
                changes = (*flags.set, *questions[question], f"seed={seed}")
                run_one(flags, changes, out)
            collect(flags.folder, list(questions))
    results_page.main()


def run_one(flags: argparse.Namespace, changes: tuple[str, ...], out: Path) -> None:
    """Trains and scores once."""
    command = [sys.executable, str(ROOT / "bench" / "quality.py"), f"--config={flags.config}", f"--steps={flags.steps}"]
    command += [f"--points={flags.points}", f"--samples={flags.samples}", f"--out={out}"]
    command += [f"--set={change}" for change in changes] + [f"--features={name}" for name in flags.features]
    subprocess.run(command, cwd=ROOT, check=True)


def collect(folder: Path, questions: list[str]) -> None:
    """Writes one line per run, in the order of the questions, into bench/results/."""
    lines = []
    for question in questions:
        for file in sorted(folder.glob(f"{question.replace(' ', '_')}-*.json")):
            seed = int(file.stem.rpartition("-")[2])
            lines.append(json.dumps({"question": question, "seed": seed} | json.loads(file.read_text())) + "\n")
    (ROOT / "bench" / "results" / f"{folder.name}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
