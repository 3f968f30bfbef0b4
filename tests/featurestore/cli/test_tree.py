"""The tree of commands is the one that typer makes, and no more of it is made than is walked."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from featurestore.cli import tree
from featurestore.cli.app import build, run

#: Of a command, what it says and does; of an option, what it takes and says.
OF_COMMANDS = ("name", "help", "short_help", "epilog", "hidden", "deprecated", "no_args_is_help", "options_metavar")
OF_OPTIONS = (
    "name", "opts", "secondary_opts", "required", "multiple", "nargs", "default", "help", "metavar", "hidden", "envvar",
    "show_default",
)  # fmt: skip


def said_of(command: Any) -> dict[str, Any]:
    """Return all that shows: of a group its commands too, in order."""
    said = {"class": type(command).__name__} | {name: getattr(command, name) for name in OF_COMMANDS}
    said["options"] = [
        (type(one).__name__, *(getattr(one, name, None) for name in OF_OPTIONS)) for one in command.params
    ]
    if hasattr(command, "commands"):
        said["commands"] = [(name, said_of(one)) for name, one in command.commands.items()]
    return said


def test_every_command_is_as_typer_makes_it() -> None:
    app = build()
    eager, lazy = typer.main.get_command(app), tree.command_of(app)
    assert [name for name, _ in said_of(lazy)["commands"]] == list(eager.commands)
    assert said_of(lazy) == said_of(eager)


def test_an_application_adds_nothing_to_those_made_before_it() -> None:
    def number_of_commands(app: typer.Typer) -> int:
        groups = [number_of_commands(group.typer_instance) for group in app.registered_groups if group.typer_instance]
        return len(app.registered_commands) + sum(groups)

    first = build()
    before = number_of_commands(first)
    assert number_of_commands(build()) == number_of_commands(first) == before


def test_a_line_has_one_command_made_and_a_list_of_them_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    def counted(app: typer.Typer) -> Any:
        made.append(app)
        return typer.main.get_command(app)

    monkeypatch.setattr(tree, "get_command", counted)
    assert run(["audit", "verify", "--help"], debug=False) == 0
    assert "--head" in capsys.readouterr().out
    assert len(made) == 2  # the application, and `verify`
    made.clear()
    assert run(["--help"], debug=False) == 0
    assert "materialize" in capsys.readouterr().out
    assert len(made) > 30


def test_a_name_that_is_no_command_is_told_which_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["materialise"], debug=False) == 1
    assert "'materialize'" in capsys.readouterr().err
