"""The commands that take a store elsewhere."""

from __future__ import annotations

import json

from tests.featurestore.cli.conftest import CommandLine


def test_a_backup_is_made_verified_and_loaded_and_a_mistake_is_a_sentence(command: CommandLine) -> None:
    assert command("apply").code == 0
    place = command.folder.parent / "backup"
    made = json.loads(command("backup", "create", str(place), "--json").out)
    assert made["equal"]
    taken = command("backup", "create", str(place))
    assert (taken.code, taken.err.splitlines()[0]) == (1, f"Error: There is something at {place} already.")
    again = command("backup", "load", str(place), "--json")  # where all of it is there
    assert again.code == 0
    assert {one["state"] for one in json.loads(again.out)["parts"]} <= {"was there", "nothing", "rebuilt"}
    lost = command("migrate", "--to", str(place))
    assert (lost.code, lost.err.splitlines()[0]) == (1, f"Error: There is no featurestore.toml in {place}.")


def test_a_damaged_backup_is_said_to_be_one(command: CommandLine) -> None:
    command("apply")
    place = command.folder.parent / "backup"
    command("backup", "create", str(place))
    (place / "registry.db").write_bytes(b"")
    from featurestore.cli.app import run

    assert run(["backup", "verify", str(place)], debug=False) == 1
    assert "registry.db is not as it was written." in command.capsys.readouterr().out


def test_a_store_is_not_moved_to_itself_and_parts_that_there_are_not_are_answered_with_those_that_there_are(
    command: CommandLine,
) -> None:
    command("apply")
    for more in ([], ["--check"]):
        said = command("migrate", "--to", str(command.folder), *more)
        assert (said.code, said.out) == (1, "")
        same = f"Error: {command.folder} and {command.folder} are the same store: no part of it lies elsewhere."
        assert same in said.err.splitlines()
    assert command("migrate", "--to", str(command.folder), "--only", "registry").code == 0
    unknown = command("migrate", "--to", str(command.folder), "--only", "xyz").err
    assert "There is: datasets, feedback, keys, log, messages, monitor, online, profiles, " in unknown
    assert "pushes, quarantine, registry, tables." in unknown
    assert ".." not in unknown
