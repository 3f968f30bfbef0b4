"""Definitions come from the user's files; whatever these do, the line is named."""

from __future__ import annotations

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
