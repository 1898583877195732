"""Images per second and the display of progress."""

import sys
import time
from collections.abc import Callable

import tqdm


class Throughput:
    """Speed of training between two reports, without the pauses for pictures and the like.

    Args:
      images_per_step: real images that one step takes.
      clock: seconds; a test may pass its own.
    """

    def __init__(self, images_per_step: int, clock: Callable[[], float] = time.perf_counter):
        self._images_per_step = images_per_step
        self._clock = clock
        self._start: float | None = None
        self._steps = 0

    @property
    def paused(self) -> bool:
        """Whether the clock stands still until the next `count_step`."""
        return self._start is None

    def count_step(self) -> None:
        """Counts one step. The clock starts with the end of the first one, which compiles."""
        if self._start is None:
            self._start = self._clock()
        else:
            self._steps += 1

    def report(self) -> dict[str, float]:
        """`steps_per_s` and `images_per_s` since the last report; empty before there is a step to time."""
        if self._start is None or not self._steps:
            return {}
        rate = self._steps / max(self._clock() - self._start, 1e-9)
        self._start, self._steps = self._clock(), 0
        return {"steps_per_s": rate, "images_per_s": rate * self._images_per_step}

    def pause(self) -> None:
        """Forgets what was counted: something other than training comes now."""
        self._start, self._steps = None, 0


class Progress:
    """A bar with speed and remaining time on a terminal; elsewhere one line per report.

    Args:
      step: completed steps at the start.
      total: steps of the whole run.
    """

    def __init__(self, step: int, total: int):
        self._total = total
        hidden = not sys.stderr.isatty()
        self._bar = tqdm.tqdm(total=total, initial=step, unit="step", dynamic_ncols=True, disable=hidden)

    def advance(self) -> None:
        """Counts one step."""
        self._bar.update()

    def report(self, step: int, values: dict[str, float], speed: dict[str, float]) -> None:
        """Shows metrics of a step and the speed, as `Throughput.report` gives it."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        if speed:
            rate = speed["images_per_s"]
            text += f"  {rate:,.0f} images/s" if rate >= 10 else f"  {rate:.2f} images/s"
        if self._bar.disable:
            remaining = f"  {duration((self._total - step) / speed['steps_per_s'])} left" if speed else ""
            print(f"step {step:,}/{self._total:,}  {text}{remaining}", flush=True)
        else:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Such as 1:02:03, or 4d 1:02:03."""
    days, rest = divmod(round(seconds), 86_400)
    hours, minutes, secs = rest // 3600, rest // 60 % 60, rest % 60
    return (f"{days}d " if days else "") + f"{hours}:{minutes:02}:{secs:02}"
