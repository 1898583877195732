"""Measures the speed of training, and shows progress on the terminal."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator

import tqdm

BAR = "{percentage:3.0f}% {bar:30} {n_fmt}/{total_fmt} steps, {remaining} left"  # fits into 80 columns


class Throughput:
    """Measures the speed of training between two reports, without the pauses for pictures and the like.

    Args:
      images_per_step: real images that one step takes.
      clock: returns seconds; a test may pass its own.
    """

    def __init__(self, images_per_step: int, clock: Callable[[], float] = time.perf_counter):
        self._images_per_step = images_per_step
        self._clock = clock
        self._start: float | None = None
        self._steps = 0
        self._waited = 0.0

    @property
    def paused(self) -> bool:
        """Whether the clock is stopped until the next `count_steps`."""
        return self._start is None

    def count_steps(self, number: int) -> None:
        """Counts the steps of a call. The clock starts at the end of the first call, which compiles."""
        if self._start is None:
            self._start, self._waited = self._clock(), 0.0
        else:
            self._steps += number

    @contextlib.contextmanager
    def waiting_for_data(self, idle: Callable[[], bool]) -> Iterator[None]:
        """Measures its context, a wait for the images of a step; counts it if the devices are `idle` at its end.

        Otherwise they were still busy with earlier steps and did not wait.
        """
        start = self._clock()
        yield
        if idle():
            self._waited += self._clock() - start

    def report(self) -> dict[str, float]:
        """Returns the speed since the last report; empty before there is a step to time.

        `steps_per_s`, `images_per_s`, and `data_wait`, an upper bound of the fraction of the time that the devices
        waited for images.
        """
        if self._start is None or not self._steps:
            return {}
        seconds = max(self._clock() - self._start, 1e-9)
        rate, wait = self._steps / seconds, self._waited / seconds
        self._start, self._steps, self._waited = self._clock(), 0, 0.0
        return {"steps_per_s": rate, "images_per_s": rate * self._images_per_step, "data_wait": wait}

    def pause(self) -> None:
        """Stops the clock and discards what was counted, before work other than training."""
        self._start, self._steps = None, 0


class Progress:
    """Shows a line per report, and below them, on a terminal, a short bar with the remaining time.

    Args:
      step: completed steps at the start.
      total: steps of the whole run.
    """

    def __init__(self, step: int, total: int):
        self._total = total
        self._bar = tqdm.tqdm(
            total=total,
            initial=step,
            bar_format=BAR,
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not sys.stderr.isatty(),
        )

    def advance(self, steps: int) -> None:
        """Counts steps."""
        self._bar.update(steps)

    def report(self, step: int, values: dict[str, float], speed: dict[str, float]) -> None:
        """Prints the mean metrics up to a step, the losses first, and the speed, from `Throughput.report`.

        A terminal gets what fits into one line.
        """
        width = len(f"{self._total:,}")
        columns = [f"step {step:>{width},}/{self._total:,}"]
        losses = {name: value for name, value in values.items() if name.endswith("loss")}
        columns += [f"{name} {value:6.3f}" for name, value in losses.items()]
        if speed:
            rate = speed["images_per_s"]
            columns.append(f"{rate:7,.0f} images/s" if rate >= 10 else f"{rate:7.2f} images/s")
            if self._bar.disable:
                columns.append(f"{format_duration((self._total - step) / speed['steps_per_s'])} left")
        columns += [f"{name} {value:6.3f}" for name, value in values.items() if name not in losses]
        if speed:
            columns.append(f"waiting for data {speed['data_wait']:.0%}")
        if not self._bar.disable:
            columns = _fitting(columns, self._bar.ncols or shutil.get_terminal_size().columns)
        info("  ".join(columns))

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the bar, which stays on the terminal."""
        self._bar.close()


def _fitting(columns: list[str], width: int) -> list[str]:
    """Returns the first columns that fit into a line of a terminal, two spaces between them."""
    while len(columns) > 1 and len("  ".join(columns)) >= width:
        columns = columns[:-1]
    return columns


def info(text: str) -> None:
    """Prints lines above a progress bar."""
    tqdm.tqdm.write(text)
    sys.stdout.flush()


def warn(text: str) -> None:
    """Prints a warning on standard error, above a progress bar."""
    tqdm.tqdm.write(f"warning: {text}", file=sys.stderr)
    sys.stderr.flush()


def format_duration(seconds: float) -> str:
    """Formats seconds, such as 1:02:03 or 4d 1:02:03."""
    days, rest = divmod(round(seconds), 86_400)
    hours, minutes, secs = rest // 3600, rest // 60 % 60, rest % 60
    return (f"{days}d " if days else "") + f"{hours}:{minutes:02}:{secs:02}"
