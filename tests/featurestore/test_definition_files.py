"""Definitions come from the user's files; whatever these do, the line is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from featurestore.config import Config
from featurestore.definition_files import load_definitions
from featurestore.errors import DefinitionError


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("raise SystemExit(3)", r"definitions\.py:2: the file ends the program"),
        ("import sys; sys.exit()", r"definitions\.py:2: the file ends the program"),
        ("1 / 0", r"definitions\.py:2: ZeroDivisionError"),
        ("x = (", r"definitions\.py:2"),
        ("from featurestore import Entity; Entity(name='a b')", r"definitions\.py:2: 'a b' cannot name an entity"),
    ],
)
def test_a_file_that_cannot_be_run_is_named_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "definitions.py").write_text(f"\n{line}\n")
    with pytest.raises(DefinitionError, match=says):
        load_definitions(Config(root=tmp_path))


def test_an_edit_within_the_second_that_keeps_the_size_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "definitions.py"
    for key in ("user_a", "user_b"):
        file.write_text(f"from featurestore import Entity\nuser = Entity(name='user', join_keys=['{key}'])\n")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        (entity,) = load_definitions(Config(root=tmp_path))
        assert entity.join_keys == (key,)  # type: ignore[union-attr]
