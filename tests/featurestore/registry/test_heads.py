"""Signed heads show what a chain of hashes cannot: a tail that was cut off, and a log that was rebuilt as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update

from featurestore.database import Database
from featurestore.definitions import Entity, MonitorPolicy
from featurestore.errors import RegistryError
from featurestore.registry import AuditReport, FoundHead, Head, PrivateKey, Registry, open_registry, schema
from featurestore.registry.audit import GENESIS, seal
from featurestore.registry.migrating import open_database
from featurestore.registry.signing import generate
from featurestore.registry.verifying import check

KEY = PrivateKey(generate(), "a test's key")
STRANGER = PrivateKey(generate(), "a stranger's key")
ENTRIES = 12

Row = dict[str, Any]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def heads(registry: Registry) -> list[FoundHead]:
    """Return the head after each entry of a log that has twelve; the first is that of the empty log."""
    found = [FoundHead(registry.head(KEY), "head 0")]
    for number in range(1, ENTRIES + 1):
        registry.record("silence", f"alert{number}", {"number": number}, who="ada")
        found.append(FoundHead(registry.head(KEY), f"head {number}"))
    return found


def rows_of(connection: Connection) -> list[Row]:
    query = select(schema.audit).filter_by(project="flights").order_by(schema.audit.c.sequence)
    return [dict(row) for row in connection.execute(query).mappings()]


def put(connection: Connection, rows: list[Row]) -> None:
    connection.execute(delete(schema.audit).filter_by(project="flights"))
    if rows:
        connection.execute(insert(schema.audit), rows)


def rebuild(connection: Connection, rows: list[Row]) -> None:
    """Do what whoever can write the database can: number and seal all entries anew, and put the new head in place."""
    previous, sealed = GENESIS, []
    for sequence, row in enumerate(rows, start=1):
        row = {**row, "sequence": sequence, "previous_hash": previous}
        previous = row["hash"] = seal(row)
        sealed.append(row)
    put(connection, sealed)
    head = {"audit_sequence": len(sealed), "audit_hash": previous}
    connection.execute(update(schema.projects).filter_by(project="flights").values(**head))


def judge(connection: Connection, heads: list[FoundHead], **options: Any) -> AuditReport:
    return check(connection, "flights", heads, **{"known": [KEY.public], "only_known": False, **options})


def test_a_whole_log_is_vouched_for_up_to_its_newest_head(registry: Registry, heads: list[FoundHead]) -> None:
    registry.record("silence", "later", {}, who="ada")
    report = registry.check_audit(heads, known=[KEY.public])
    assert report.is_intact
    assert (report.entries, report.heads, report.vouched, report.warnings) == (13, 13, 12, ())
    assert report.vouched_at == heads[-1].head.at
    assert registry.check_audit().vouched == 0


def test_a_rebuilt_log_fits_its_hashes_and_contradicts_its_heads(database: Database, heads: list[FoundHead]) -> None:
    with database.write() as connection:
        rows = rows_of(connection)
        rows[4]["who"] = "eve"
        rebuild(connection, rows)
        assert judge(connection, []).is_intact
        report = judge(connection, heads)
    (problem,) = report.problems
    assert problem.what.startswith("Entries 5 to 12 are not what was signed. The hashes fit each other, so the log was")
    assert problem.what.endswith("See head 5, head 6, head 7 and 5 more.")
    assert (problem.entry, problem.since, report.vouched) == (5, heads[-1].head.at, 4)


def test_a_tail_that_was_cut_off_is_missed_by_a_head(database: Database, heads: list[FoundHead]) -> None:
    with database.write() as connection:
        rebuild(connection, rows_of(connection)[:9])
        assert judge(connection, []).is_intact
        report = judge(connection, [heads[3], heads[11]])
    (problem,) = report.problems
    assert problem.what == "The log ends in entry 9, and entry 11 was signed: its tail was cut off. See head 11."
    assert (problem.entry, problem.since, report.vouched) == (10, heads[11].head.at, 3)


def test_a_tail_that_was_cut_off_and_written_anew_is_found(
    registry: Registry, heads: list[FoundHead], url: str
) -> None:
    database = open_database(url)
    with database.write() as connection:
        rebuild(connection, rows_of(connection)[:10])
    database.close()
    for _ in range(5):
        registry.record("silence", "innocent", {}, who="eve")
    (problem,) = registry.check_audit(heads, known=[KEY.public]).problems
    assert problem.what.startswith("Entries 11 to 12 are not what was signed.")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_tampering_is_found_exactly_when_hashes_or_heads_can_tell(
    database: Database, heads: list[FoundHead], data: st.DataObject
) -> None:
    """Whoever rebuilds the log escapes only with what no head had seen; who does not rebuild it never does."""
    kept = data.draw(st.lists(st.sampled_from(heads), max_size=4), label="heads that the tamperer could not reach")
    rebuilds = data.draw(st.booleans(), label="rebuilds")
    with database.write() as connection:
        before = rows_of(connection)
        after = data.draw(tampered(before, renumbers=rebuilds), label="log")
        (rebuild if rebuilds else put)(connection, after)
        signed = max((one.head.sequence for one in kept), default=0)
        changed = told(after)[:signed] != told(before)[:signed] if rebuilds else after != before
        report = judge(connection, kept)
        assert report.is_intact == (not changed)
        assert report.vouched <= signed
        assert told(after)[: report.vouched] == told(before)[: report.vouched]
        connection.rollback()


def told(rows: list[Row]) -> list[Row]:
    return [{name: row[name] for name in ("at", "who", "action", "object", "details")} for row in rows]


@st.composite
def tampered(draw: st.DrawFn, rows: list[Row], *, renumbers: bool) -> list[Row]:
    rows = [dict(row) for row in rows]
    for _ in range(draw(st.integers(1, 3))):
        if not rows:
            break
        place, other = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, len(rows) - 1))
        what = draw(st.sampled_from(["edit", "delete", "swap", "cut", "forge"]))
        if what == "edit":
            rows[place][draw(st.sampled_from(["who", "object", "action", "details"]))] = draw(st.sampled_from("abc"))
        elif what == "delete":
            del rows[place]
        elif what == "swap":
            rows[place], rows[other] = rows[other], rows[place]
            if not renumbers:
                numbers = rows[place]["sequence"], rows[other]["sequence"]
                rows[other]["sequence"], rows[place]["sequence"] = numbers
        elif what == "cut":
            del rows[place:]
        elif renumbers:
            rows.insert(place, {**rows[place], "who": "eve"})
        else:
            last = rows[-1]
            rows.append({**last, "sequence": last["sequence"] + 1, "previous_hash": last["hash"], "who": "eve"})
    return rows


@pytest.mark.parametrize("part", ["project", "sequence", "hash", "at", "key", "signature"])
def test_a_head_of_which_any_part_was_edited_is_found(registry: Registry, heads: list[FoundHead], part: str) -> None:
    head = heads[5].head
    other: dict[str, Any] = {
        "project": head.project,
        "sequence": 6,
        "hash": heads[6].head.hash,
        "at": head.at + timedelta(microseconds=1),
        "key": STRANGER.public,
        "signature": heads[6].head.signature,
    }
    edited = replace(head, **{part: other[part]})
    assert head.is_authentic
    assert edited.is_authentic == (part == "project")
    assert not replace(head, project="other").is_authentic
    if part != "project":
        (problem,) = registry.check_audit([FoundHead(edited, "h.json")], known=[KEY.public]).problems
        assert problem.what == "The head in h.json was edited: its signature does not fit."


def test_a_head_by_an_unknown_key_vouches_for_nothing_and_still_contradicts(
    registry: Registry, database: Database, heads: list[FoundHead]
) -> None:
    strange = FoundHead(registry.head(STRANGER), "strange.json")
    report = registry.check_audit([strange], known=[KEY.public])
    assert report.is_intact
    assert report.vouched == 0
    assert "One head is signed by SHA256:" in report.warnings[0]
    assert "not a known key. See strange.json." in report.warnings[0]
    strict = registry.check_audit([strange, heads[3]], known=[KEY.public], only_known=True)
    assert ["not a known key" in problem.what for problem in strict.problems] == [True]
    with database.write() as connection:
        rebuild(connection, rows_of(connection)[:3])
        assert [problem.entry for problem in judge(connection, [strange]).problems] == [4]


def test_heads_of_another_project_are_counted_and_not_compared(registry: Registry, heads: list[FoundHead]) -> None:
    del heads
    other = FoundHead(replace(registry.head(KEY), project="trains", sequence=99), "their.json")
    report = registry.check_audit([other], known=[KEY.public])
    assert report.is_intact
    assert report.heads == 0
    assert report.warnings == ("One head is of another project (trains): not compared. See their.json.",)


def test_heads_in_manifests_are_compared_and_so_are_the_manifests(
    registry: Registry, database: Database, policy: Callable[..., MonitorPolicy]
) -> None:
    registry.apply([policy()], who="ada")
    registry.record_dataset("delays", {"rows": 3, "audit_head": registry.head(KEY).to_json()}, who="ada")
    registry.record_dataset("old", {"rows": 1}, who="ada")
    report = registry.check_audit(known=[KEY.public])
    assert (report.is_intact, report.heads, report.vouched, report.warnings) == (True, 1, 5, ())
    with database.write() as connection:
        rows = rows_of(connection)
        rows[1]["object"] = "wether@1"
        rebuild(connection, rows)
        (problem,) = judge(connection, []).problems
        assert problem.what.endswith("See dataset delays@1.")
        connection.rollback()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE datasets SET manifest = replace(manifest, '\"rows\":3', '\"rows\":4')")
        (problem,) = judge(connection, []).problems
        assert problem.what == "The manifest of dataset delays@1 is not the one that was recorded."
        connection.rollback()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE datasets SET manifest = '[' WHERE name = 'old'")
        assert [one.what for one in judge(connection, []).problems] == [
            "The manifest of dataset old@1 is not the one that was recorded."
        ]
        connection.rollback()


def test_a_head_survives_the_way_through_json_and_nothing_else_is_taken_for_one(heads: list[FoundHead]) -> None:
    head = heads[4].head
    assert Head.from_json(head.to_json(), "h.json") == head
    edits: list[dict[str, Any]] = [{"hash": 1}, {"at": "yesterday"}, {"sequence": float("inf")}]
    nothing: list[Any] = [None, [], "x", {}]
    for wrong in [*nothing, *({**head.to_json(), **edit} for edit in edits)]:
        with pytest.raises(RegistryError, match=r"h\.json holds no head"):
            Head.from_json(wrong, "h.json")
    with pytest.raises(RegistryError, match=r"of a newer release") as raised:
        Head.from_json({**head.to_json(), "format": 2}, "h.json")
    assert "Upgrade" in raised.value.hint


def test_a_problem_says_since_when(database: Database, heads: list[FoundHead]) -> None:
    del heads
    before = datetime.now(UTC) - timedelta(minutes=5)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE audit SET who = 'eve' WHERE sequence = 4")
        (problem,) = judge(connection, []).problems
        connection.rollback()
    assert problem.what == "Entry 4 was edited."
    assert problem.since is not None
    assert before < problem.since < datetime.now(UTC)
    assert str(problem) == f"Entry 4 was edited. That was done after {problem.since:%Y-%m-%d %H:%M:%S} UTC."


def test_an_instant_that_is_none_does_not_stop_the_checking(database: Database, heads: list[FoundHead]) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE audit SET at = 9000000000000000000 WHERE sequence = 4")
        assert [one.what for one in judge(connection, heads).problems] == ["Entry 4 was edited."]
        connection.rollback()


@pytest.mark.parametrize("edit", ["details = x'ff00'", "who = x'61'", "at = 'noon'"])
def test_a_value_of_another_type_does_not_stop_the_checking(tmp_path: Path, edit: str) -> None:
    """SQLite takes any type in any column."""
    with open_registry(f"sqlite:///{tmp_path}/registry.db", "flights") as registry:
        registry.apply([Entity(name="airport"), Entity(name="plane")], who="ada")
        with registry._database.write() as connection:
            connection.exec_driver_sql(f"UPDATE audit SET {edit} WHERE sequence = 1")
        assert registry.verify_audit() == ["Entry 1 was edited."]
