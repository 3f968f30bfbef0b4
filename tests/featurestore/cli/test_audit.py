"""The audit log on the command line: listed, filtered, its head written, and checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import run
from featurestore.registry.migrating import open_database
from featurestore.types import Float64, Int64

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
TOTAL = Field(name="total", dtype=Float64)

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Return a store whose log has five entries: three applied, one changed, one promoted."""
    with FeatureStore.init(tmp_path / "shop") as store:
        spending = FeatureView(name="spending", entities=[USER], schema=[TOTAL])
        store.apply([FeatureService(name="scoring", features=[spending])])
        store.apply([FeatureView(name="spending", entities=[USER], schema=[TOTAL], ttl=timedelta(hours=3))])
        store.registry.promote("scoring@1", who="ada")
    return tmp_path / "shop"


@pytest.fixture
def said(repo: Path, capfd: pytest.CaptureFixture[str]) -> Said:
    """Run a command in the store; return its exit code, and what it printed."""

    def call(*arguments: str) -> tuple[int, str]:
        code = run([*arguments, "-C", str(repo)], debug=False)
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return call


def numbers(printed: str) -> list[int]:
    return [entry["sequence"] for entry in json.loads(printed)]


def test_the_log_is_listed_with_and_without_the_word(said: Said) -> None:
    code, printed = said("audit")
    assert code == 0
    assert printed == said("audit", "list")[1]
    assert len(printed.splitlines()) == 5
    assert printed.splitlines()[-1].endswith("  ada  promote  scoring@1")


def test_the_list_is_filtered(said: Said) -> None:
    def found(*filters: str) -> list[int]:
        return numbers(said("audit", *filters, "--format", "json")[1])

    assert found() == [1, 2, 3, 4, 5]
    assert found("--object", "spending") == [2, 4]
    assert found("--object", "spending@2") == [4]
    assert found("--action", "promote") == [5]
    assert found("--who", "ada") == [5]
    assert found("--limit", "2") == [4, 5]
    assert found("--until", "2013-01-01T00:00:00Z") == []
    assert found("--since", "2013-01-01T00:00:00Z", "--object", "user") == [1]
    assert said("audit", "--action", "promotes") == (
        1,
        'Error: The audit log knows no action "promotes".\nHint: Did you mean "promote"?\n',
    )
    assert "names no time zone" in said("audit", "--since", "2013-01-01T00:00:00")[1]


def test_details_say_what_it_was_before_and_after_and_from_where(said: Said) -> None:
    lines = [line.strip() for line in said("audit", "-v", "--object", "spending@2")[1].splitlines()]
    assert lines[1].startswith("from ")
    assert "version: 1 -> 2" in lines
    assert any(line.startswith("ttl: ") and "->" in line for line in lines)
    lines = [line.strip() for line in said("audit", "-v", "--action", "promote")[1].splitlines()]
    assert "version: none -> 1" in lines
    assert "alias: production" in lines


def test_a_head_that_was_written_finds_a_tail_that_was_cut_off(said: Said, repo: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.json"
    code, printed = said("audit", "head", "--out", str(head))
    key = json.loads(head.read_text())["key"]
    assert code == 0
    assert f"--head {head} --key {key}" in printed
    assert json.loads(said("audit", "head")[1])["sequence"] == 5
    code, printed = said("audit", "verify", "--head", str(head), "--key", key)
    assert code == 0
    assert "The audit log is intact: 5 entries, compared with 1 signed head." in printed
    assert "Entries 1 to 5 are vouched for by a head of " in printed
    assert "signed by SHA256:" in printed
    database = open_database(f"sqlite:///{repo}/data/registry.db")
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE sequence = 5")
        connection.exec_driver_sql(
            "UPDATE projects SET audit_sequence = 4, audit_hash = (SELECT hash FROM audit WHERE sequence = 4)"
        )
    database.close()
    code, printed = said("audit", "verify")
    assert code == 1
    assert "is not where the log left it" in printed
    code, printed = said("audit", "verify", "--head", str(head))
    assert code == 1
    assert f"The log ends in entry 4, and entry 5 was signed: its tail was cut off. See {head}. That was" in printed
    assert "Tampering was found" in printed
    code, printed = said("audit", "verify", "--head", str(head), "--format", "json")
    report = json.loads(printed)
    assert (code, report["intact"], report["problems"][0]["entry"]) == (1, False, 5)


def test_what_cannot_be_written_or_read_is_said_in_a_sentence(said: Said, tmp_path: Path) -> None:
    assert said("audit", "head", "--out", str(tmp_path / "no" / "head.json"))[1].startswith("Error: ")
    code, printed = said("audit", "verify", "--head", str(tmp_path / "head.json"))
    assert code == 1
    assert "cannot be read: No such file or directory." in printed
    assert "Hint: featurestore audit head --out FILE writes one." in printed
