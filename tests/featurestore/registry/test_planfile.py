"""A plan in a file: exactly that is applied, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore.definitions import Entity, FeatureService, MonitorPolicy, PromotionPolicy
from featurestore.errors import DefinitionError, RegistryError
from featurestore.registry import Registry, planfile

Build = Callable[..., MonitorPolicy]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plan.json"


def apply(registry: Registry, file: Path, who: str = "ci", **options: Any) -> None:
    saved = planfile.read(file)
    registry.apply(saved.definitions, who=who, prune=saved.prune, saved=saved, **options)


def test_every_kind_of_definition_is_applied_as_it_was_planned(registry: Registry, policy: Build, file: Path) -> None:
    watch = policy()
    definitions = [watch, PromotionPolicy(name="four_eyes", service=watch.service)]
    plan = registry.plan(definitions)
    planfile.save(plan, file, who="ada")
    apply(registry, file)
    assert len(registry.list()) == 6
    assert registry.plan(definitions).is_empty
    assert registry.get("watch").applied_by == "ci"


def test_a_plan_that_lacks_what_it_would_change_was_edited(registry: Registry, policy: Build, file: Path) -> None:
    planfile.save(registry.plan([policy()]), file, who="ada")
    content = json.loads(file.read_text())
    del content["changes"][0]["action"]
    file.write_text(json.dumps(content))
    with pytest.raises(RegistryError, match="was edited"):
        planfile.read(file)


def test_a_plan_that_is_done_already_is_no_error(registry: Registry, policy: Build, file: Path) -> None:
    planfile.save(registry.plan([policy()]), file, who="ada")
    apply(registry, file)
    before = registry.audit()
    apply(registry, file)
    assert registry.audit() == before


def test_a_stale_plan_is_refused_and_says_what_moved_and_by_whom(registry: Registry, policy: Build, file: Path) -> None:
    registry.apply([policy()], who="ada")
    planfile.save(registry.plan([policy(ttl=None)]), file, who="ada")
    registry.apply([policy(ttl=timedelta(hours=5)).service.views[0]], who="bob")
    before = registry.list(), registry.audit()
    with pytest.raises(RegistryError, match=r"is stale: it was made on .* by ada; since then weather@2") as caught:
        apply(registry, file)
    assert "apply by bob" in caught.value.message
    assert "featurestore plan --out" in caught.value.hint
    assert (registry.list(), registry.audit()) == before


def test_a_change_of_something_else_does_not_make_it_stale(registry: Registry, policy: Build, file: Path) -> None:
    planfile.save(registry.plan([policy()]), file, who="ada")
    registry.apply([Entity(name="plane")], who="bob")
    apply(registry, file)
    assert len(registry.list()) == 6


def test_with_prune_anything_that_comes_makes_it_stale(registry: Registry, policy: Build, file: Path) -> None:
    registry.apply([Entity(name="plane")], who="ada")
    planfile.save(registry.plan([policy()], prune=True), file, who="ada")
    registry.apply([Entity(name="route")], who="bob")
    with pytest.raises(RegistryError, match=r"since then route@1 \(apply by bob"):
        apply(registry, file)
    registry.remove("route", who="bob")
    apply(registry, file)
    assert "plane" not in {one.name for one in registry.list()}


def test_a_removal_since_then_is_told(registry: Registry, policy: Build, file: Path) -> None:
    registry.apply([policy().service], who="ada")
    planfile.save(registry.plan([policy(ttl=None).service]), file, who="ada")
    registry.remove("flight_delay", who="bob")
    with pytest.raises(RegistryError, match=r"flight_delay@1 \(delete by bob"):
        apply(registry, file)


def test_another_registry_of_that_project_is_told_by_what_it_would_do(
    registry: Registry, policy: Build, file: Path, tmp_path: Path
) -> None:
    from featurestore.registry import open_registry

    registry.apply([policy()], who="ada")
    planfile.save(registry.plan([policy(ttl=None)]), file, who="ada")
    with (
        open_registry(f"sqlite:///{tmp_path}/other.db", "flights") as other,
        pytest.raises(RegistryError, match="feature_view weather would be: create @1, and was to be: new version @2"),
    ):
        apply(other, file)


def test_breaking_changes_must_be_asked_for_here_too(registry: Registry, policy: Build, file: Path) -> None:
    from featurestore.errors import BreakingChangeError

    registry.apply([policy().service], who="ada")
    smaller = FeatureService(name="flight_delay", features=[policy().service.views[0]])
    planfile.save(registry.plan([smaller]), file, who="ada")
    with pytest.raises(BreakingChangeError):
        apply(registry, file)
    apply(registry, file, allow_breaking=True)
    assert registry.get("flight_delay").version == 2


def test_errors_about_definitions_of_a_file_still_name_their_line(
    registry: Registry, policy: Build, file: Path
) -> None:
    planfile.save(registry.plan([policy()]), file, who="ada")
    registry.apply([Entity(name="chill")], who="bob")
    with pytest.raises(DefinitionError, match='"chill" is registered as an entity') as caught:
        apply(registry, file)
    assert "conftest.py:" in caught.value.where


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda plan: plan.update(format=2), "has format 2, of a newer release; this one, .*, reads up to 1"),
        (lambda plan: plan.update(what="recipe"), "is not a plan"),
        (lambda plan: plan.pop("changes"), "was edited, or another release wrote it"),
        (lambda plan: plan["definitions"][1]["spec"].update(ttl_us=5), "was edited, or another release wrote it"),
        (lambda plan: plan["definitions"][1].update(kind="poem"), "was edited, or another release wrote it"),
    ],
)
def test_what_is_no_plan_of_this_release_is_refused(
    registry: Registry, policy: Build, file: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    planfile.save(registry.plan([policy()]), file, who="ada")
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    with pytest.raises(RegistryError, match=message) as caught:
        planfile.read(file)
    assert caught.value.hint


def test_a_file_that_is_not_there_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="The plan cannot be read"):
        planfile.read(tmp_path / "nothing.json")
    (tmp_path / "poem.json").write_text("roses")
    with pytest.raises(RegistryError, match=r"poem\.json is not a plan"):
        planfile.read(tmp_path / "poem.json")
