"""Speeds and durations."""

from sagan_jax.runtime.timing import Throughput, format_duration


def test_throughput_leaves_out_compilation_and_pauses():
    now = [0.0]
    throughput = Throughput(64, clock=lambda: now[0])
    for seconds in (60, 1, 1):  # the first step compiles
        with throughput.waiting_for_data(lambda: False):
            now[0] += seconds / 4
        with throughput.waiting_for_data(lambda: True):
            now[0] += seconds / 4
        now[0] += seconds / 2
        throughput.count_steps(1)
    assert throughput.report() == {"steps_per_s": 1.0, "images_per_s": 64.0, "data_wait": 0.25}
    throughput.pause()
    for seconds in (30, 2):  # a picture is drawn before the first of these
        now[0] += seconds
        throughput.count_steps(1)
    assert throughput.report() == {"steps_per_s": 0.5, "images_per_s": 32.0, "data_wait": 0.0}
    assert throughput.report() == {}


def test_duration():
    assert [format_duration(s) for s in (61, 3661, 90000)] == ["0:01:01", "1:01:01", "1d 1:00:00"]
