"""Errors are one sentence."""

import pickle

from sagan_jax.errors import InputError


def test_an_error_names_field_value_and_remedy():
    error = InputError("is unknown", field="data.split", value="trane", remedy="choose from test, train")
    assert str(error) == "data.split = 'trane' is unknown: choose from test, train."
    assert str(error.renamed("--split")) == "--split=trane is unknown: choose from test, train."
    assert str(InputError("is unknown", field="train.stepz", remedy="did you mean train.steps?")) == (
        "train.stepz is unknown: did you mean train.steps?"
    )
    assert str(InputError(", but it has 3", field="classes", value=2)) == "classes = 2, but it has 3."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(pickle.loads(pickle.dumps(InputError("is missing", field="--out")))) == "--out is missing."


def test_a_sentence_without_a_field_has_nothing_to_rename():
    error = InputError("there is no file a.npz: give the path of one.")
    assert str(error) == "there is no file a.npz: give the path of one."
    assert error.renamed("--weights") is error
