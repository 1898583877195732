"""Which kernels take a device's time, from JAX's own profiler."""

import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

MOST = 40  # kernels that are listed


def top_kernels(function: Callable[[], Any]) -> list[tuple[str, float, float]]:
    """Returns name, total milliseconds and fraction of the kernels that took longest while the function ran."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            function()
        (trace,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    processes = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    times: Counter[str] = Counter()
    for event in events:
        if event.get("ph") != "X":
            continue
        thread = threads.get((event["pid"], event["tid"]), "")
        on_device = processes.get(event["pid"], "").startswith("/device:") and thread.startswith("Stream")
        on_cpu = thread.startswith("tf_XLA") and "Execut" not in event["name"] and "::" not in event["name"]
        if on_device or on_cpu:
            times[event["name"]] += event["dur"] / 1e3
    total = sum(times.values())
    return [(name, ms, ms / total) for name, ms in times.most_common(MOST)]
