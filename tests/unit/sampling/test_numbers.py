"""Numbers beside attention, as they are written for people."""

from sagan_jax.sampling.numbers import signed


def test_gammas_and_logits_have_a_sign():
    assert (signed(-0.174, 2), signed(1.18, 2)) == ("−0.17", "+1.18")
