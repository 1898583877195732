#!/usr/bin/env bash
# The measurements of docs/results.md that want an accelerator; name those that there is time for.
#
#   bench/results.sh --minutes=20 --cifar10=FOLDER --features=FOLDER --peer=torch_sagan.py PART...
#
# Parts: standard (configs/cifar10.py), larger (batch 256, one D update, two learning rates), peer (the PyTorch program
# for as many minutes, scored by the same code), ablation (the paper's questions, two seeds; goes on where it was cut
# off), imagenette (--imagenette=FOLDER, prepared).
# --cifar10 names CIFAR-10 prepared by sagan_jax.prepare, --zips the archives that the peer reads, --features a folder
# with resnet56_cifar10.npz and inception2015_mixed7.npz. The scores of each part go to bench/results/.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=20 cifar10=data/cifar10 imagenette=data/imagenette zips="" features=features peer=torch_sagan.py parts=()
for argument in "$@"; do
  case "$argument" in
    --minutes=*) minutes="${argument#*=}" ;;
    --cifar10=*) cifar10="${argument#*=}" ;;
    --imagenette=*) imagenette="${argument#*=}" ;;
    --zips=*) zips="${argument#*=}" ;;
    --features=*) features="${argument#*=}" ;;
    --peer=*) peer="${argument#*=}" ;;
    -*) echo "$argument is unknown: see the first lines of $0" >&2; exit 2 ;;
    *) parts+=("$argument") ;;
  esac
done
python="${PYTHON:-python3}"
export PYTHONPATH="$PWD:$PWD/bench${PYTHONPATH:+:$PYTHONPATH}"
resnet=(--features="resnet56_cifar10=$features/resnet56_cifar10.npz")
inception=(--features="inception2015:768=$features/inception2015_mixed7.npz")

# quality NAME ARGUMENT...: trains for the minutes and scores.
quality() {
  "$python" bench/quality.py "${@:2}" --minutes="$minutes" --workdir="runs/quality_$1" --out="bench/results/quality_$1.json"
}

for part in "${parts[@]}"; do
  case "$part" in
    standard) quality cifar10_standard --config=cifar10 "--set=data.source=prepared:$cifar10" "${resnet[@]}" "${inception[@]}" ;;
    larger)
      quality cifar10_larger --config=cifar10 "--set=data.source=prepared:$cifar10" "${resnet[@]}" "${inception[@]}" \
        --set=train.batch_size=256 --set=train.discriminator_updates=1 \
        --set=optimizer.generator.learning_rate=2e-4 --set=optimizer.discriminator.learning_rate=4e-4 \
        --set=optimizer.generator.beta1=0.0 --set=optimizer.discriminator.beta1=0.0
      ;;
    peer)
      # The switches that are fastest on a GPU; the archives are split at spaces.
      # shellcheck disable=SC2086
      "$python" "$peer" --config cifar32 --data $zips --minutes "$minutes" --out runs/peer --precision bf16 \
        --channels-last --compile reduce-overhead
      "$python" bench/quality.py --fake=runs/peer/samples.npz "--real=prepared:$cifar10" "${resnet[@]}" \
        "${inception[@]}" --minutes="$minutes" --out=bench/results/quality_cifar10_peer.json
      ;;
    ablation)
      "$python" bench/ablation.py --config=cifar10 "--set=data.source=prepared:$cifar10" "${resnet[@]}" \
        --set=train.discriminator_updates=1 --steps=10000 --seeds=2 --folder=runs/ablation_gpu
      ;;
    imagenette)
      quality imagenette --config=imagenette128 "--set=data.source=prepared:$imagenette" "${inception[@]}"
      ;;
    *) echo "$part is no part: see the first lines of $0" >&2; exit 2 ;;
  esac
done
"$python" bench/results_page.py
