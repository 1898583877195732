#!/usr/bin/env bash
# Trains on a Cloud TPU pod: asks for the machines, copies this commit there, runs it on all of them, and starts again
# after each preemption until the run is finished.
#
#   NAME=sagan ZONE=us-west4-a launch/tpu_pod.sh [--dry-run] --config=FILE --workdir=gs://BUCKET/DIR [...]
#
# NAME     of the queued resource and of its machines (sagan)
# ZONE     where (us-west4-a)
# PROJECT  by default gcloud's
# TYPE     of the slice (v5litepod-16)
# RUNTIME  version of the machines' software (v2-alpha-tpuv5-lite; tpu-ubuntu2204-base for v2 to v4)
# SPOT     1: machines that may be taken away at any time (1), 0: on demand
# RETRIES  how many failures within ten minutes of a start, one after the other, are tried again (3)
#
# A pod that is there already is used, and is left there at the end. A run that still goes on there, since the
# connection was lost or this script stopped, is saved first and then continued. The exit status is that of the training
# program, see docs/runbook.md.
set -euo pipefail

name="${NAME:-sagan}" type="${TYPE:-v5litepod-16}" runtime="${RUNTIME:-v2-alpha-tpuv5-lite}"
place=("--zone=${ZONE:-us-west4-a}" ${PROJECT:+"--project=$PROJECT"})
spot=()
if [[ "${SPOT:-1}" == 1 ]]; then spot=(--spot); fi
run() { "$@"; }
dry_run=
if [[ "${1:-}" == --dry-run ]]; then
  dry_run=1
  run() { printf '%q ' "$@"; echo; }
  shift
fi
if [[ "$*" != *--config=* || "$*" != *--workdir=gs://* ]]; then
  echo "error: give --config=FILE and --workdir=gs://BUCKET/DIR: the machines of a pod share nothing else" >&2
  exit 2
fi

failures=0
failed() {
  failures=$((failures + 1))
  echo "$1 (failure $failures; up to ${RETRIES:-3} are tried again)" >&2
  if [[ $failures -gt ${RETRIES:-3} ]]; then exit 1; fi
}

tpus() { run gcloud compute tpus "$1" "$2" "$name" "${place[@]}" "${@:3}"; }

# State of the request, once it is granted of the machines: after a preemption the request stays ACTIVE for a while.
state() {
  local answer
  if answer="$(tpus queued-resources describe --format='value(state.state)' 2>"$scratch/error")"; then
    if [[ "$answer" == ACTIVE ]]; then answer="$(tpus tpu-vm describe --format='value(state)' || true)"; fi
    echo "$answer"
  elif grep -q NOT_FOUND "$scratch/error"; then
    echo NONE
  else
    cat "$scratch/error" >&2
    echo UNKNOWN
  fi
}

create() {
  tpus queued-resources create --node-id="$name" --accelerator-type="$type" --runtime-version="$runtime" "${spot[@]}"
}

provide_pod() {
  while :; do
    case "$(state)" in
      READY) return ;;
      NONE) create || failed "the pod cannot be asked for" ;;
      FAILED)
        tpus queued-resources delete --force --quiet || true
        failed "the request for the pod was turned down"
        ;;
      SUSPENDED | PREEMPTED | TERMINATED)
        if tpus queued-resources delete --force --quiet; then failures=0; else failed "the old pod stays"; fi
        ;;
      UNKNOWN) failed "gcloud does not tell the state of the pod" ;;
      *) ;; # queued, being made, being taken away
    esac
    sleep "${POLL_SECONDS:-30}"
  done
}

on_all() { tpus tpu-vm ssh --worker=all --command="$1"; }

# In /dev/shm, so that the number does not outlive the machine's start that it belongs to.
pid=/dev/shm/sagan_jax.pid
stop="{ old=\$(cat $pid) && kill -TERM \$old \
&& { timeout 300 tail --pid=\$old -f /dev/null || kill -KILL \$old; }; } 2>/dev/null"

copy_code() {
  run gcloud compute tpus tpu-vm scp "$scratch/sagan_jax.tar.gz" "$name:sagan_jax.tar.gz" "${place[@]}" --worker=all &&
    # Their own Python may be too old; uv brings another.
    on_all "$stop; rm -rf sagan_jax && mkdir sagan_jax && tar -xzf sagan_jax.tar.gz -C sagan_jax && cd sagan_jax \
&& PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -q --user uv && python3 -m uv venv -q --python=3.11 .venv \
&& python3 -m uv pip install -q --python=.venv -c constraints.txt '.[tfds,tpu,gcs]'"
}

# gcloud passes on the status of one machine only, so all print theirs. It runs the command again on a machine that it
# lost: therefore the command stops the one before. With nohup a run outlives the connection, whose end would stop it.
train() {
  on_all "$stop; cd sagan_jax && (echo \$BASHPID >$pid; exec nohup .venv/bin/python -m sagan_jax.main$(printf ' %q' "$@")); \
printf '\\nsagan_jax ended with %s\\n' \$?" | tee "$scratch/log" || true
  local known
  for known in 75 2 3 76 143; do # stopped and saved comes first: whatever else there was, running again is right
    if grep -qx "sagan_jax ended with $known" "$scratch/log"; then return "$known"; fi
  done
  # None at all: the connection is lost, mostly with the machines. 1: the first failure, or the others were lost.
  if grep -q '^sagan_jax ended with ' "$scratch/log" && ! grep -q '^sagan_jax ended with [^0]' "$scratch/log"; then
    return 0
  fi
  return 1
}

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
run git -C "$(dirname "$0")/.." archive --output="$scratch/sagan_jax.tar.gz" HEAD # one commit, for all starts
if [[ -n "$dry_run" ]]; then
  create
  copy_code
  train "$@" || true
  exit
fi
trap 'rm -rf "$scratch"
echo "the pod stays, and costs: gcloud compute tpus queued-resources delete $name ${place[*]} --force" >&2' EXIT
while :; do
  provide_pod
  begin=$SECONDS
  status=1
  if copy_code; then status=0; train "$@" || status=$?; fi
  if [[ $((SECONDS - begin)) -gt 600 ]]; then failures=0; fi
  case "$status" in
    75 | 76 | 143) echo "stopped with status $status: starting again" >&2 ;;
    1) failed "copying or training failed: starting again" ;;
    *) exit "$status" ;;
  esac
  sleep "${POLL_SECONDS:-30}"
done
