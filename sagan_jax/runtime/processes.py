"""Joins several processes into one program, of which the first writes files and prints."""

import functools
import math
import os
import sys
import traceback
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from sagan_jax.errors import FailedError, InputError
from sagan_jax.runtime.jax_settings import check_devices
from sagan_jax.runtime.output import flush_output

LOST_AFTER = 30  # seconds without a heartbeat after which the others give a process up
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def join_processes(
    coordinator: str | None, num_processes: int | None, process_id: int | None, wait_seconds: float = 300
) -> None:
    """Joins the other processes of the program, if there are any; call it before anything uses a device.

    Without arguments JAX looks for a TPU pod, Slurm, Open MPI or Kubernetes; without any, this is the only process.
    From here on all processes but the first print only errors.

    Args:
      coordinator: HOST:PORT of the first process; it listens on the loopback device only, if HOST is one of `LOOPBACK`.
      num_processes: number of all processes.
      process_id: index of this one.
      wait_seconds: limit for all of them to join.

    Raises:
      InputError: only some of the first three are given, or one is impossible; or there are no devices.
      FailedError: the processes do not find each other.
    """
    given = (coordinator, num_processes, process_id)
    if any(value is None for value in given) and any(value is not None for value in given):
        raise InputError(
            f"--coordinator={coordinator} --processes={num_processes} --process={process_id}: give all three,"
            " or none of them."
        )
    initialize = functools.partial(
        jax.distributed.initialize,
        initialization_timeout=math.ceil(wait_seconds),
        heartbeat_timeout_seconds=LOST_AFTER,
    )
    try:
        if coordinator is None:
            initialize()
        else:
            local = coordinator.rpartition(":")[0] in LOOPBACK
            initialize(
                coordinator,
                num_processes,
                process_id,
                cluster_detection_method="deactivate",
                coordinator_bind_address=coordinator if local else None,
            )
    except (ValueError, RuntimeError) as error:
        single = ("coordinator_address should be defined", "must be called before any JAX")
        if coordinator is None and any(reason in str(error) for reason in single):
            check_devices()
            return  # no other processes, or called from a program that has used JAX already
        kind = InputError if isinstance(error, ValueError) else FailedError  # a machine may be gone
        raise kind(
            f"--coordinator={coordinator} --processes={num_processes} --process={process_id} cannot be joined:"
            f" start all processes within {wait_seconds:g} seconds (faults.join_seconds), with the same coordinator and"
            f" each with a number of its own ({error})."
        ) from error
    check_devices()
    if not is_host0():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        os.environ["TQDM_DISABLE"] = "1"


def is_host0() -> bool:
    """Returns whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def broadcast_from_host0(number: int) -> int:
    """Returns the number that the first process has; all processes call it, and wait for the first."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def all_hosts(statement: bool) -> bool:
    """Returns whether something is true in all processes; all of them call it, and wait for each other."""
    if jax.process_count() == 1:
        return statement
    return bool(multihost_utils.process_allgather(np.int32(statement)).all())


def run_program(program: Callable[[], int]) -> int:
    """Runs a program and returns its exit status; one of several processes ends at once where it fails.

    By the usual exit it would wait for the others, which wait for it.
    """
    try:
        status = program()
    except Exception:
        if not _are_several():
            raise
        traceback.print_exc()
        status = 1
    if status and _are_several():
        flush_output()
        os._exit(status)
    return status


def _are_several() -> bool:
    """Returns whether there are several processes; not where they could not even be counted."""
    try:
        return jax.process_count() > 1
    except Exception:  # there are no devices
        return False
