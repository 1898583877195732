"""The code of docs/library.md runs, and its table names what is public."""

import re

from places import ROOT

import sagan_jax

TEXT = (ROOT / "docs" / "library.md").read_text()


def test_the_code_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    namespace = {"__name__": "library"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/library.md, block {number}", "exec"), namespace)


def test_the_table_names_what_is_public():
    table = TEXT.partition("## Public names")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(sagan_jax.__all__)
    for name in sagan_jax.__all__:
        assert hasattr(sagan_jax, name)
