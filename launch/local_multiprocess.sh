#!/usr/bin/env bash
# Trains with several processes on this machine, as a pod would: to try things out, or with a GPU for each.
#
#   launch/local_multiprocess.sh [--dry-run] N --config=FILE [--workdir=DIR] [--config.FIELD=VALUE ...]
#
# DEVICES_PER_PROCESS=2  virtual devices of each process, on a CPU
# GPUS_PER_PROCESS=1     GPUs of each process: the first gets 0, the second 1, ...
# PYTHON=FILE            the Python to use; by default that of the project's .venv, or python3 where there is none
#
# They talk over the loopback device only. SIGTERM and Ctrl-C are passed on, and all save and end with status 75. Where
# one fails the others are killed ten seconds later. The exit status is that of the first process that did not end
# well. Needs bash 5.1 or newer.
set -euo pipefail

dry_run=
if [[ "${1:-}" == --dry-run ]]; then dry_run=1; shift; fi
count="${1:-}"
if ! [[ "$count" =~ ^[1-9][0-9]*$ ]] || [[ $# -lt 2 ]]; then
  echo "error: give the number of processes and the training program's flags: $0 2 --config=configs/digits.py" >&2
  exit 2
fi
shift
venv="$(dirname "$0")/../.venv/bin/python"
python="${PYTHON:-$(if [[ -x "$venv" ]]; then echo "$venv"; else echo python3; fi)}"
port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')"

processes=()
killer=
# Ctrl-C reaches the processes from the terminal too; a second SIGINT would stop them without saving.
trap 'kill -TERM "${processes[@]}" 2>/dev/null || true' TERM INT
for ((process = 0; process < count; process++)); do
  settings=()
  if [[ -n "${DEVICES_PER_PROCESS:-}" ]]; then settings+=("JAX_NUM_CPU_DEVICES=$DEVICES_PER_PROCESS"); fi
  if [[ -n "${GPUS_PER_PROCESS:-}" ]]; then
    first=$((process * GPUS_PER_PROCESS))
    settings+=("CUDA_VISIBLE_DEVICES=$(seq -s, "$first" $((first + GPUS_PER_PROCESS - 1)))")
  fi
  command=(env "${settings[@]}" "$python" -m sagan_jax.main "$@"
    "--coordinator=localhost:$port" "--processes=$count" "--process=$process")
  if [[ -n "$dry_run" ]]; then
    printf '%q ' "${command[@]}"; echo
  else
    "${command[@]}" &
    processes+=("$!")
  fi
done

status=0
left=${#processes[@]}
while [[ $left -gt 0 ]]; do
  ended='' code=0
  wait -n -p ended || code=$?
  # A trapped signal ends `wait` but not what it waits for.
  if [[ -z "${ended:-}" || "$ended" == "$killer" ]]; then continue; fi
  left=$((left - 1))
  if [[ $status -eq 0 ]]; then status=$code; fi
  # After 0 and 75 the others are about to end. Otherwise they wait for the lost one and hear no SIGTERM.
  if [[ $code -ne 0 && $code -ne 75 && $left -gt 0 && -z "$killer" ]]; then
    (sleep 10 && kill -KILL "${processes[@]}") >/dev/null 2>&1 &
    killer=$!
  fi
done
if [[ -n "$killer" ]]; then kill "$killer" 2>/dev/null || true; fi
exit "$status"
