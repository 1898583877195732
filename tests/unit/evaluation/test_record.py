"""Scores as they are written for people."""

import pytest

from sagan_jax.evaluation.record import shown_value
from sagan_jax.evaluation.scores import Score


@pytest.mark.parametrize(
    ("written", "value", "std_error"),
    [("0.004568 ± 0.0027", 0.004568, 0.0027), ("12.34", 12.341, None), ("12,346 ± 123", 12345.6, 123.4)],
)
def test_scores_are_written_without_powers_of_ten(written, value, std_error):
    assert shown_value(Score("frechet", "FD", value, std_error)) == written
