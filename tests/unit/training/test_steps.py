"""What the first step says about the time of a run."""

from sagan_jax.training.steps import pace


def test_the_first_step_tells_the_time_of_the_whole_run():
    assert pace(0.5, 1, 1999) == (
        "the first step took 0.5 s: at this pace 0:16:40 for the 1,999 left, pictures and scores aside"
    )
    assert pace(0.5, 5, 0) == "the first 5 steps took 0.5 s"
