"""A folder that a run may write to, alone."""

import pytest

from sagan_jax.errors import InputError
from sagan_jax.runtime.workdir_access import open_workdir


def test_workdir_must_be_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="--workdir=.*file.* cannot be written to"),
        open_workdir(str(tmp_path / "file")),
    ):
        pass


def test_a_workdir_has_one_run_at_a_time(tmp_path):
    with (
        open_workdir(str(tmp_path)),
        pytest.raises(InputError, match=r"in use by another run \(process \d+ on .*\): wait for it"),
        open_workdir(str(tmp_path)),
    ):
        pass
    with open_workdir(str(tmp_path)) as folder:
        assert folder == tmp_path
