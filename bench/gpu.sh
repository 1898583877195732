#!/usr/bin/env bash
# Everything that needs an accelerator, in one command: correctness, speed, the PyTorch peer, a profile.
#
#   bench/gpu.sh RESULT.json [--peer=torch_sagan.py] [--wheels=FOLDER] [--parts=step128,peer128,...] [--seconds=520]
#
# Needs no network. PYTHON names the Python (that of the project's .venv, or python3). --wheels names a folder of wheels of what is not installed; they go into a folder of their own for
# this run. The parts and what each does are in bench/accelerator.py; those for which no time is left are left out.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
arguments=()
for argument in "$@"; do
  case "$argument" in
    --wheels=*) wheels="${argument#--wheels=}" ;;
    *) arguments+=("$argument") ;;
  esac
done
venv="$here/../.venv/bin/python"
python="${PYTHON:-$(if [[ -x "$venv" ]]; then echo "$venv"; else echo python3; fi)}"
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
if [[ -n "${wheels:-}" ]]; then
  site="$(mktemp -d)"
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
  PYTHONPATH="$PYTHONPATH:$site"
fi
"$python" "$here/accelerator.py" "${arguments[@]}"
