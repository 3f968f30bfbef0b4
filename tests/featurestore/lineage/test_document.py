"""docs/lineage.md, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from featurestore import FeatureStore
from featurestore.cli.app import run
from featurestore.lineage.graph import HOW

DOCUMENT = (Path(__file__).parents[3] / "docs" / "lineage.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_its_commands_print_what_it_shows(
    whole: FeatureStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole.config.root)
    shown = [
        found for text in blocks("console") for found in re.findall(r"\$ featurestore (.*)\n((?:[^$].*\n)+)", text)
    ]
    assert shown
    for command, output in shown:
        capsys.readouterr()
        assert run(shlex.split(command), debug=False) == 0
        assert capsys.readouterr().out == output


def test_its_python_prints_what_it_says(
    whole: FeatureStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole.config.root)
    capsys.readouterr()
    (text,) = blocks("python")
    exec(compile(text, "lineage.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^# prints: (.*)$", text, re.MULTILINE)


def test_it_explains_every_way_in_which_one_comes_from_another() -> None:
    assert [how for how in HOW if f"`{how}`" not in DOCUMENT] == []
