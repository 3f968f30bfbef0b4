"""list, show, search and diff; and what the shell completes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import forking


def test_a_list_is_narrowed_by_kind_and_by_tag(command: Any) -> None:
    assert command("list").out == "Nothing is registered. Next: featurestore apply\n"
    command("apply")
    assert [line.split()[1] for line in command("list").out.splitlines()] == ["scoring@1", "spending@1", "user@1"]
    assert [line.split()[1] for line in command("list", "entity").out.splitlines()] == ["user@1"]
    tagged = json.loads(command("list", "--tag", "pii=true", "--format", "json").out)
    assert [one["name"] for one in tagged] == ["spending"]
    assert command("list", "--tag", "pii=false").out == "Nothing like that is registered.\n"


@pytest.mark.parametrize(
    ("arguments", "says"), [(["list", "entty"], 'Did you mean "entity"?'), (["list", "--tag", "pii"], "KEY=VALUE")]
)
def test_a_slip_of_the_pen_is_told(command: Any, arguments: list[str], says: str) -> None:
    said = command(*arguments)
    assert said.code == 1
    assert says in said.err


def test_an_object_is_shown_with_all_that_is_known_of_it(command: Any) -> None:
    command("apply")
    command.define(lambda text: text.replace("days=2", "days=3"))
    command("apply")
    said = command("show", "spending@1").out
    lines = said.splitlines()
    assert lines[0] == "feature_view spending@1 (current is @2)"
    assert lines[1] == "  What a user spent"
    for part in (
        "  ttl          2 days, 0:00:00",
        "    total   Float64     ge=0  tags=pii=true  Euros",
        "  uses         user@1",
        "  stored as    spending-",
        "   * @2 ",
        "     @1 ",
    ):
        assert part in said
    assert "scoring" not in said
    assert "  used by      feature_service scoring@2" in command("show", "spending").out
    assert json.loads(command("show", "spending", "--format", "json").out)["id"] == "spending@2"


def test_a_search_says_where_it_matched(command: Any) -> None:
    command("apply")
    assert command("search", "total").out.split(maxsplit=2)[1:] == ["spending@1", "field total\n"]
    assert command("search", "euros", "spent").out.split()[1] == "spending@1"
    assert command("search", "nowhere").out == 'Nothing matches "nowhere".\n'
    (found,) = json.loads(command("search", "orders", "--format", "json").out)
    assert (found["id"], found["where"]) == ("spending@1", ["field orders"])


def test_versions_are_compared(command: Any) -> None:
    command("apply")
    command.define(lambda text: text.replace("days=2", "days=3"))
    command("apply")
    said = command("diff", "spending@1", "spending@2")
    assert said.code == 0
    assert said.out == (
        '  ~ feature_view spending@1 -> spending@2\n      ~ ttl: "2 days, 0:00:00" -> "3 days, 0:00:00"\n'
    )
    assert command("diff", "spending@1").out == said.out
    assert json.loads(command("diff", "spending@1", "--format", "json").out)["new"] == "spending@2"
    assert command("diff", "spending@1", "--format", "markdown").out.startswith("### ~ `feature_view spending@1")
    assert command("diff", "spending@9").code == 1


def complete(words: str, cwd: Path) -> tuple[list[str], str]:
    ran = forking.run(
        [sys.executable, "-m", "featurestore"],
        cwd=cwd,
        env=os.environ
        | {
            "_FEATURESTORE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout.split(), ran.stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("featurestore show s", ["scoring", "spending"]),
        ("featurestore show scoring@", ["scoring@1"]),
        ("featurestore diff u", ["user"]),
        ("featurestore promote s", ["scoring"]),
        ("featurestore materialize s", ["spending"]),
        ("featurestore list feature_v", ["feature_view"]),
        ("featurestore show x", []),
    ],
)
def test_the_shell_completes_names(command: Any, words: str, completed: list[str]) -> None:
    command("apply")
    assert complete(words, command.folder) == (completed, "")


def test_names_are_those_of_the_folder_that_is_named(command: Any, tmp_path: Path) -> None:
    command("apply")
    assert complete(f"featurestore show -C {command.folder} sc", tmp_path) == (["scoring"], "")


def test_where_anything_is_wrong_nothing_is_completed_and_nothing_said(command: Any, tmp_path: Path) -> None:
    assert complete("featurestore show s", tmp_path) == ([], "")  # no featurestore.toml
    assert complete("featurestore show s", command.folder) == ([], "")  # no registry, and none is made
    assert not (command.folder / "data").exists()
    (command.folder / "data").mkdir()
    (command.folder / "data" / "registry.db").write_text("no database")
    assert complete("featurestore show s", command.folder) == ([], "")
    settings = command.folder / "featurestore.toml"
    settings.write_text(
        settings.read_text().replace("sqlite:///data/registry.db", "postgresql+psycopg://127.0.0.1:1/nothing")
    )
    assert complete("featurestore show s", command.folder) == ([], "")


def test_completing_opens_no_feature_store(command: Any) -> None:
    """Somebody waits with a finger on the key."""
    command("apply")
    code = (
        "import atexit, sys; heavy = ('duckdb', 'polars', 'pyarrow', 'sqlalchemy', 'grpc', 'numpy'); "
        "atexit.register(lambda: print([one for one in heavy if one in sys.modules])); "
        "from featurestore.cli.app import run; run([], debug=True)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=command.folder,
        env=os.environ
        | {"_FEATURESTORE_COMPLETE": "complete_bash", "COMP_WORDS": "featurestore show s", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["scoring", "spending", "[]"]
