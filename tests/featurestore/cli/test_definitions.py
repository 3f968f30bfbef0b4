"""plan, apply and delete, as a person and as CI use them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from featurestore import FeatureStore


def test_the_exit_code_of_plan_tells_changes_from_none_and_from_errors(command: Any) -> None:
    planned = command("plan")
    assert (planned.code, planned.err) == (2, "")
    assert planned.out.endswith("Plan: 3 to create.\n")
    assert command("apply").code == 0
    assert command("plan").code == 0
    command.define(lambda text: text.replace('name="scoring"', 'name="s c"'))
    broken = command("plan")
    assert broken.code == 1
    place = f"{command.folder / 'definitions.py'}:16"
    assert broken.err.startswith(f"Error: {place}: 's c' cannot name a feature service.\nHint: A name starts")
    assert broken.err.count(place) == 1


def test_an_error_that_only_a_plan_finds_names_its_line_once(command: Any) -> None:
    command.define(lambda text: text + 'other = Entity(name="spending")\n')
    said = command("plan")
    assert said.code == 1
    file = command.folder / "definitions.py"
    assert said.err == (
        f'Error: {file}:17: "spending" is both a feature view and an entity; the other one is in {file}:6.\n'
        "Hint: Names are unique in a project, over all kinds: rename one.\n"
    )


def test_a_place_below_the_current_folder_is_short(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(command.folder)
    command.define(lambda text: text.replace("ge=0", 'ge="0"'))
    assert command("plan").err.startswith("Error: definitions.py:12: Field ")


def test_a_plan_is_made_agreed_to_and_applied_without_the_definitions(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    planned = command("plan", "--out", str(file))
    assert planned.code == 2
    assert planned.out.endswith(f"Saved. Next: featurestore apply {file}\n")
    (command.folder / "definitions.py").unlink()
    applied = command("apply", str(file))
    assert applied.code == 0, applied.err
    assert applied.out.endswith("Plan: 3 to create.\nApplied.\n")
    assert command("apply", str(file)).out.startswith("No changes")


def test_a_stale_plan_and_one_of_another_project_are_refused(command: Any, tmp_path: Path) -> None:
    command("apply")
    command.define(lambda text: text.replace("days=2", "days=3"))
    command("plan", "--out", str(tmp_path / "plan.json"))
    command.define(lambda text: text.replace("days=3", "days=4"))
    command("apply")
    stale = command("apply", str(tmp_path / "plan.json"))
    assert stale.code == 1
    assert "is stale" in stale.err
    assert "spending@2 (apply by" in stale.err
    settings = command.folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace('project = "shop"', 'project = "market"'))
    other = command("apply", str(tmp_path / "plan.json"))
    assert other.code == 1
    assert 'is of project "shop", and this is "market"' in other.err


def test_a_plan_file_holds_no_secrets(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "open sesame")
    settings = command.folder / "featurestore.toml"
    channel = '[channels.ops]\nkind = "webhook"\nurl = "https://ops.example.com"\nsecret = "${HOOK_SECRET}"\n'
    settings.write_text(settings.read_text() + channel)
    policy = (
        'from featurestore import MonitorPolicy\nwatch = MonitorPolicy(name="watch", service=scoring, routes=["ops"])\n'
    )
    command.define(lambda text: text + policy)
    assert command("plan", "--out", str(tmp_path / "plan.json")).code == 2
    text = (tmp_path / "plan.json").read_text()
    assert '"ops"' in text
    assert "sesame" not in text
    assert "example.com" not in text


def test_a_policy_needs_its_channel_where_it_is_planned_and_where_it_is_applied(command: Any, tmp_path: Path) -> None:
    policy = (
        'from featurestore import MonitorPolicy\nwatch = MonitorPolicy(name="watch", service=scoring, routes=["ops"])\n'
    )
    command.define(lambda text: text + policy)
    wrong = 'definitions.py:18: Monitor policy "watch" routes to "ops"'
    assert wrong in command("plan").err
    settings = command.folder / "featurestore.toml"
    before = settings.read_text()
    settings.write_text(before + '[channels.ops]\nkind = "console"\n')
    assert command("plan", "--out", str(tmp_path / "plan.json")).code == 2
    settings.write_text(before)
    said = command("apply", str(tmp_path / "plan.json"))
    assert said.code == 1
    assert wrong in said.err


@pytest.mark.parametrize("name", ["plan", "apply"])
def test_a_plan_can_be_read_by_programs_and_in_pull_requests(command: Any, name: str) -> None:
    code = 2 if name == "plan" else 0
    said = command(name, "--format", "json")
    assert said.code == code
    assert json.loads(said.out)["counts"] == {"create": 3}
    said = command(name, "--format", "markdown")
    if name == "plan":
        assert said.out.startswith("## Feature store plan: 3 to create\n")
    else:
        assert said.out == "## Feature store plan: no changes\n\n3 definitions are as registered.\n"


def test_pruning_is_asked_for(command: Any, tmp_path: Path) -> None:
    command("apply")
    command.define(lambda text: text.partition("scoring =")[0])
    assert command("plan").code == 0
    planned = command("plan", "--prune", "--out", str(tmp_path / "plan.json"))
    assert planned.code == 2
    assert "  - feature_service scoring@1\n" in planned.out
    assert command("apply").code == 0
    assert "scoring@1" in command("list").out
    wrong = command("apply", str(tmp_path / "plan.json"), "--prune")
    assert wrong.code == 1
    assert "--prune belongs to the plan" in wrong.err
    assert command("apply", str(tmp_path / "plan.json")).code == 0
    assert "scoring" not in command("list").out


def test_what_is_in_use_is_refused_with_its_users(command: Any) -> None:
    command("apply")
    said = command("delete", "spending", "--yes")
    assert said.code == 1
    assert said.err.startswith(
        "Error: What is in use cannot be removed: feature_view spending is used by feature_service scoring@1.\n"
    )


def test_deleting_must_be_confirmed_where_nobody_can_be_asked(command: Any) -> None:
    command("apply")
    said = command("delete", "scoring")
    assert said.code == 1
    assert 'Removing "scoring" was not confirmed' in said.err
    assert "--yes" in said.err
    assert "scoring@1" in command("list").out
    said = command("delete", "scoring", "--yes")
    assert (said.code, said.out) == (0, "  - feature_service scoring@1\n\nPlan: 1 to remove.\nRemoved.\n")
    assert "scoring" not in command("list").out


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, False), ("n", 1, True)])
def test_deleting_asks_on_a_terminal(
    command: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: bool
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    command("apply")
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    said = command("delete", "scoring")
    assert said.code == code
    assert "- feature_service scoring@1" in said.out
    with FeatureStore(command.folder) as store:
        assert ("scoring" in [one.name for one in store.registry.list()]) == left
