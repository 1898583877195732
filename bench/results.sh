#!/usr/bin/env bash
# The measurements of docs/results.md that go by the clock; name those that there is time for.
#
#   bench/results.sh --minutes=20 --cifar10=FOLDER --features=FOLDER --peer=torch_sagan.py PART...
#
# Parts: standard (configs/cifar10.py), larger (batch 256, one D update, two learning rates), augmented (that with
# differentiable augmentation), small (configs/cifar10_small.py, for a CPU), peer (the PyTorch program for as many minutes,
# scored by the same code), ablation (the paper's questions, two seeds; goes on where it was cut off), imagenette
# (--imagenette=FOLDER, prepared).
# --cifar10 names CIFAR-10 prepared by sagan_jax.prepare, --zips the archives that the peer reads, --features a folder
# with resnet56_cifar10.npz and inception2015_mixed7.npz. The scores of each part go to bench/results/quality_PART.json;
# --device=cpu adds _cpu to their names, has the peer use the switches that are fastest there, and leaves out Inception.
# PYTHON and PEER_PYTHON name the Pythons of the two programs (that of the project's .venv, or python3).
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=20 cifar10=data/cifar10 imagenette=data/imagenette zips="" features=features peer=torch_sagan.py device=cuda parts=()
for argument in "$@"; do
  case "$argument" in
    --minutes=*) minutes="${argument#*=}" ;;
    --cifar10=*) cifar10="${argument#*=}" ;;
    --imagenette=*) imagenette="${argument#*=}" ;;
    --zips=*) zips="${argument#*=}" ;;
    --features=*) features="${argument#*=}" ;;
    --peer=*) peer="${argument#*=}" ;;
    --device=*) device="${argument#*=}" ;;
    -*) echo "$argument is unknown: see the first lines of $0" >&2; exit 2 ;;
    *) parts+=("$argument") ;;
  esac
done
python="${PYTHON:-$(if [[ -x .venv/bin/python ]]; then echo .venv/bin/python; else echo python3; fi)}"
export PYTHONPATH="$PWD:$PWD/bench${PYTHONPATH:+:$PYTHONPATH}"
inception=(--features="inception2015:768=$features/inception2015_mixed7.npz")
networks=(--features="resnet56_cifar10=$features/resnet56_cifar10.npz")
if [[ "$device" == cpu ]]; then
  suffix=_cpu switches=(--precision fp32 --channels-last --fold-resample)
else
  suffix="" switches=(--precision bf16 --channels-last --fold-resample --compile reduce-overhead)
  networks+=("${inception[@]}")
fi

# quality NAME ARGUMENT...: trains for the minutes and scores.
quality() {
  "$python" bench/quality.py "${@:2}" --minutes="$minutes" --workdir="runs/quality_$1$suffix" \
    --out="bench/results/quality_$1$suffix.json"
}

# cifar10 NAME CONFIG ARGUMENT...: the same of CIFAR-10.
cifar10() { quality "cifar10_$1" "--config=$2" "--set=data.source=prepared:$cifar10" "${networks[@]}" "${@:3}"; }

larger=(--set=train.batch_size=256 --set=train.discriminator_updates=1 --set=optimizer.generator.learning_rate=2e-4
  --set=optimizer.discriminator.learning_rate=4e-4 --set=optimizer.generator.beta1=0.0
  --set=optimizer.discriminator.beta1=0.0)
for part in "${parts[@]}"; do
  case "$part" in
    standard) cifar10 standard cifar10 ;;
    larger) cifar10 larger cifar10 "${larger[@]}" ;;
    augmented) cifar10 augmented cifar10 "${larger[@]}" --set=train.augmentations=color,translation,cutout ;;
    small) cifar10 small cifar10_small ;;
    peer)
      # The archives are split at spaces.
      # shellcheck disable=SC2086
      "${PEER_PYTHON:-$python}" "$peer" --config cifar32 --data $zips --minutes "$minutes" --out "runs/peer$suffix" --device "$device" \
        "${switches[@]}"
      "$python" bench/quality.py --fake="runs/peer$suffix/samples.npz" "--real=prepared:$cifar10" "${networks[@]}" \
        --minutes="$minutes" --out="bench/results/quality_cifar10_peer$suffix.json"
      ;;
    ablation)
      "$python" bench/ablation.py --config=cifar10 "--set=data.source=prepared:$cifar10" "${networks[0]}" \
        --set=train.discriminator_updates=1 --steps=10000 --seeds=2 --folder=runs/ablation_gpu
      ;;
    imagenette)
      quality imagenette --config=imagenette128 "--set=data.source=prepared:$imagenette" "${inception[@]}"
      ;;
    *) echo "$part is no part: see the first lines of $0" >&2; exit 2 ;;
  esac
done
"$python" bench/results_page.py
