"""Commands on rollout: what they print, and what they refuse in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, PromotionPolicy
from featurestore.cli.app import run
from featurestore.registry import PrivateKey, signing
from featurestore.types import Float64

VIEW = FeatureView(
    name="sales",
    entities=[Entity(name="shop")],
    schema=[Field(name="sales", dtype=Float64), Field(name="costs", dtype=Float64)],
)
SERVICE = FeatureService(name="forecast", features=[VIEW[["sales"]]])

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A store with two versions of a service."""
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply(SERVICE)
        store.apply(replace(SERVICE, features=[VIEW]))
        rows = [{"shop": "a", "sales": 1.0, "costs": 2.0, "event_timestamp": datetime(2024, 1, 1, tzinfo=UTC)}]
        store.ingest("sales", rows)
        store.materialize("sales")
    return tmp_path / "repo"


@pytest.fixture
def call(repo: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "-C", str(repo)], debug=False)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_a_version_is_promoted_listed_and_rolled_back(call: Call) -> None:
    assert call("aliases")[1] == "No alias is set. A bare name means the newest version.\n"
    assert call("promote", "forecast@1")[1] == "production of forecast is now forecast@1.\n"
    assert call("promote", "forecast@2")[1] == "production of forecast is now forecast@2.\n"
    code, out, _ = call("aliases", "forecast")
    assert code == 0
    assert "production   forecast@2  since " in out
    assert "(before: @1)" in out
    listed = json.loads(call("aliases", "--format", "json")[1])
    assert [(one["id"], one["alias"], one["before"]) for one in listed] == [("forecast@2", "production", [1])]
    assert call("rollback", "forecast", "--to", "1")[1] == "production of forecast is back at forecast@1.\n"
    code, _, err = call("rollback", "forecast")
    assert code == 1
    assert "nothing to roll back to" in err


@pytest.mark.parametrize("share", ["5%", "0.05", "5 %"])
def test_a_canary_is_given_a_share_and_ended(call: Call, share: str) -> None:
    call("promote", "forecast@1")
    code, out, _ = call("promote", "forecast@2", "--to", "canary", "--share", share)
    assert code == 0
    assert 'It answers 5 % of the routing keys that ask for "forecast".' in out
    assert "canary       forecast@2  5 % of the keys" in call("aliases")[1]
    assert "The canary of forecast has ended" in call("rollback", "forecast", "--alias", "canary")[1]
    assert "--share 5%" in call("promote", "forecast@2", "--to", "canary")[1]
    code, out, _ = call("demote", "forecast", "--from", "canary")
    assert out == 'forecast@2 is no longer canary. "forecast" is forecast@1.\n'


@pytest.mark.parametrize("share", ["5", "-1%", "101%", "half", "nan"])
def test_what_is_no_share_is_a_wrong_command_line(call: Call, share: str) -> None:
    code, _, err = call("promote", "forecast@1", "--to", "canary", f"--share={share}")
    assert code == 1
    assert "is not a share" in err
    assert "Usage" in err


def test_rows_that_are_behind_are_said_and_caught_up_with(call: Call, repo: Path) -> None:
    (repo / "more.csv").write_text("shop,sales,costs,event_timestamp\nb,1,2,2024-01-01T00:00:00Z\n")
    call("ingest", "sales", str(repo / "more.csv"))
    code, _, err = call("promote", "forecast@2")
    assert code == 1
    assert "forecast@2 is behind: sales@1 has 1 load (1 row" in err
    assert "--catch-up" in err
    code, out, _ = call("promote", "forecast@2", "--catch-up")
    assert code == 0
    assert out.splitlines()[-1] == "production of forecast is now forecast@2."
    assert "1 of 1 rows written" in out
    assert call("promote", "forecast@1", "--catch-up")[1].startswith("Nothing to catch up with.\n")


def test_a_guarded_promotion_waits_for_its_number_to_be_approved(
    call: Call, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FeatureStore(repo) as store:
        service = store.registry.service("forecast").definition
        store.apply(PromotionPolicy(name="two_people", service=service))
        key = signing.generate()
        (repo / "bob.pem").write_text(key)
        store.registry.add_identity("bob", PrivateKey(key, "The key").public, who=store.who())
    code, out, _ = call("promote", "forecast@1")
    assert code == 0
    assert out == (
        "forecast@1 becomes production of forecast when somebody else approves it.\n"
        "Next, for them: featurestore approve 1\n"
    )
    code, _, err = call("approve", "1")
    assert code == 1
    assert "not been verified" in err
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "bob")
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", str(repo / "bob.pem"))
    assert call("approve", "1")[1] == "Approved: production of forecast is now forecast@1.\n"
    monkeypatch.delenv("FEATURESTORE_IDENTITY")
    monkeypatch.delenv("FEATURESTORE_IDENTITY_KEY")
    call("promote", "forecast@2")
    assert call("reject", "2")[1] == "Rejected: forecast@2 does not become production of forecast.\n"
    lines = call("promotions")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert lines[0].endswith("approved by bob")
    assert [one["state"] for one in json.loads(call("promotions", "--format", "json")[1])] == ["approved", "rejected"]


def test_a_version_is_taken_to_another_configuration_and_it_is_said_how_to_go_on(call: Call, repo: Path) -> None:
    target = repo / "prod.toml"
    target.write_text('project = "live"\nregistry = "sqlite:///data/live.db"\n[offline]\npath = "data/live"\n')
    code, out, err = call("promote", "forecast@2", "--to", str(target))
    assert code == 0, err
    assert "+ feature_service forecast@1" in out
    assert f"forecast@2 is now forecast@1 of {target} (content hash " in out
    assert out.splitlines()[-1] == f"Next: featurestore promote forecast@1 --repo {target}"
    assert run(["promote", "forecast@1", "--repo", str(target)], debug=False) == 0
    assert "was there already, as forecast@1" in call("promote", "forecast@2", "--to", str(target))[1]
    code, _, err = call("promote", "forecast@1", "--to", str(target), "--share", "5%")
    assert code == 1
    assert "--share is for an alias" in err
    code, _, err = call("promote", "forecast@1", "--allow-breaking")
    assert code == 1
    assert "--to prod.toml" in err


def test_a_lookup_shows_the_features_of_the_canary_that_answers(call: Call) -> None:
    call("promote", "forecast@1")
    call("promote", "forecast@2", "--to", "canary", "--share", "50%")
    answers = {}
    for key in map(str, range(20)):
        found = json.loads(call("get", "forecast", "shop=a", "--routing-key", key, "--format", "json")[1])
        answers[found["service"]] = found["views"]["sales"]["features"]
    assert answers == {"forecast@1": {"sales": 1.0}, "forecast@2": {"sales": 1.0, "costs": 2.0}}
