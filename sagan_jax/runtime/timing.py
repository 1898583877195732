"""Measures the speed of training, and shows progress on the terminal."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import tqdm


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
    """Shows a bar with speed and remaining time on a terminal; elsewhere prints one line per report.

    Args:
      step: completed steps at the start.
      total: steps of the whole run.
    """

    def __init__(self, step: int, total: int):
        self._total = total
        hidden = not sys.stderr.isatty()
        self._bar = tqdm.tqdm(total=total, initial=step, unit="step", dynamic_ncols=True, disable=hidden)

    def advance(self, steps: int) -> None:
        """Counts steps."""
        self._bar.update(steps)

    def report(self, step: int, values: dict[str, float], speed: dict[str, float]) -> None:
        """Shows metrics of a step and the speed, from `Throughput.report`."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        if speed:
            rate = speed["images_per_s"]
            text += f"  {rate:,.0f} images/s" if rate >= 10 else f"  {rate:.2f} images/s"
            text += f"  waiting for data {speed['data_wait']:.1%}"
        if self._bar.disable:
            remaining = f"  {format_duration((self._total - step) / speed['steps_per_s'])} left" if speed else ""
            print(f"step {step:,}/{self._total:,}  {text}{remaining}", flush=True)
        else:
            self._bar.set_postfix_str(text)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the bar, which stays on the terminal."""
        self._bar.close()


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
