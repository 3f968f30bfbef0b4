"""Cases that users write: run offline and online on a store of their own, and said so that the mistake is seen."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Number
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureView, Field, FileSource, OnDemandFeatureView, SqlSource
from featurestore.cli.app import run
from featurestore.definitions import Definition
from featurestore.errors import DefinitionError
from featurestore.testing import CaseResult, FeatureCase, run_case
from featurestore.testing.comparing import same
from featurestore.types import Array, Date, Decimal, Float64, Int64, String, Timestamp

ROOT = Path(__file__).parents[3]
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
SPENDING = FeatureView(
    name="spending",
    entities=[USER],
    ttl=timedelta(days=2),
    source=SqlSource(
        sources=[FileSource(name="orders", path="orders.parquet", timestamp_field="ordered_at")],
        query="SELECT user_id, ordered_at AS event_timestamp, amount AS total FROM orders",
    ),
    schema=[Field(name="total", dtype=Float64, ge=0)],
)
FACTS = FeatureView(
    name="facts",
    entities=[USER],
    schema=[
        Field(name="price", dtype=Decimal(10, 2)),
        Field(name="tags", dtype=Array(String)),
        Field(name="seen", dtype=Timestamp),
        Field(name="born", dtype=Date),
    ],
)
BASKET = OnDemandFeatureView(
    name="basket",
    inputs=[SPENDING],
    request=[Field(name="amount", dtype=Float64)],
    schema=[Field(name="share", dtype=Float64)],
    expressions={"share": "amount / (total + amount)"},
)
SCORING = FeatureService(name="scoring", features=[SPENDING, BASKET])
ALL: list[Definition] = [SCORING, FACTS]
DAY = "2024-03-02T00:00Z"
ROW = {"user_id": 1, "event_timestamp": DAY, "total": 30.0}
ASKED = {"user_id": 1, "event_timestamp": "2024-03-03T00:00Z", "amount": 10.0}


def said(result: CaseResult) -> list[tuple[str, str, str, str]]:
    assert not result.error
    return [(one.path, one.feature, one.expected, one.got) for one in result.mismatches]


def test_a_service_is_asked_offline_and_online() -> None:
    case = FeatureCase(of="scoring", given={"spending": [ROW]}, ask=[ASKED], expect=[{"total": 30, "share": 0.25}])
    assert run_case(case, ALL).passed
    wrong = FeatureCase(of=SCORING, given={"spending": [ROW]}, ask=[ASKED], expect=[{"total": 30, "share": 0.5}])
    assert said(run_case(wrong)) == [("offline", "share", "0.5", "0.25"), ("online", "share", "0.5", "0.25")]


def test_a_text_that_is_no_number_is_no_decimal() -> None:
    given = [{"user_id": 1, "event_timestamp": DAY, "price": Number("1.50")}]
    case = FeatureCase(of="facts", given={"facts": given}, expect=[given[0] | {"price": "cheap"}])
    assert said(run_case(case, ALL)) == [("rows", "price", "'cheap'", "1.50")]


def test_each_row_is_asked_at_its_own_instant_whatever_their_order() -> None:
    ask = [ASKED | {"event_timestamp": when} for when in ("2024-03-04T00:00:00.000001Z", "2024-03-01T00:00Z", DAY)]
    expect = [
        {"total": None, "spending__status": "OUTSIDE_MAX_AGE"},
        {"total": None, "spending__status": "NOT_FOUND"},
        {"total": 30.0, "spending__status": "PRESENT"},
    ]
    assert run_case(FeatureCase(of="scoring", given={"spending": [ROW]}, ask=ask, expect=expect), ALL).passed
    turned = FeatureCase(of="scoring", given={"spending": [ROW]}, ask=ask, expect=expect[::-1])
    assert len(said(run_case(turned, ALL))) == 8


def test_each_use_of_a_view_has_a_status_of_its_own() -> None:
    friend = SPENDING.with_join_key_map({"user_id": "friend_id"}, name="friend")
    service = FeatureService(name="pairs", features=[SPENDING[["total"]], friend[["total"]]])
    asked = {"user_id": 1, "friend_id": 2, "event_timestamp": "2024-03-03T00:00Z"}
    expected = {"friend__total": None, "spending__status": "PRESENT", "friend__status": "NOT_FOUND"}
    case = FeatureCase(of=service, given={"spending": [ROW]}, ask=[asked], expect=[expected])
    assert said(run_case(case)) == []
    wrong = FeatureCase(
        of=service, given={"spending": [ROW]}, ask=[asked], expect=[expected | {"friend__status": "PRESENT"}]
    )
    assert [one[:3] for one in said(run_case(wrong))] == [
        ("offline", "friend__status", "'PRESENT'"),
        ("online", "friend__status", "'PRESENT'"),
    ]


def test_a_query_gives_rows_of_its_view() -> None:
    orders = [{"user_id": 1, "ordered_at": DAY, "amount": 5.0}, {"user_id": 2, "ordered_at": DAY, "amount": 6.0}]
    fine = FeatureCase(
        of="spending",
        given={"orders": orders},
        expect=[
            {"user_id": 2, "event_timestamp": DAY, "total": 6.0},
            {"user_id": 1, "event_timestamp": datetime(2024, 3, 2, tzinfo=UTC)},
        ],
    )
    assert run_case(fine, ALL).passed
    other = FeatureCase(
        of="spending", given={"orders": orders}, expect=[{"user_id": 3, "event_timestamp": DAY}, fine.expect[0]]
    )
    assert [(one.row, one.expected, one.got) for one in run_case(other, ALL).mismatches] == [
        ("user_id=3, event_timestamp='2024-03-02T00:00Z'", "a row", "none"),
        ("user_id=1, event_timestamp=2024-03-02T00:00:00+00:00", "no such row", "a row"),
    ]


def test_an_on_demand_view_is_computed_from_values_alone() -> None:
    case = FeatureCase(
        of="basket", ask=[{"total": 30.0, "amount": 10.0}, {"amount": 1.0}], expect=[{"share": 0.25}, {"share": None}]
    )
    assert run_case(case, ALL).passed
    wrong = FeatureCase(of=BASKET, ask=[{"total": 1.0, "amount": 1.0}], expect=[{"share": 0.4}], tolerance=0.05)
    assert said(run_case(wrong)) == [("offline", "share", "0.4", "0.5"), ("online", "share", "0.4", "0.5")]
    assert run_case(FeatureCase(of=BASKET, ask=wrong.ask, expect=wrong.expect, tolerance=0.2)).passed


def test_an_on_demand_view_with_given_rows_is_asked_like_a_service() -> None:
    assert run_case(
        FeatureCase(of="basket", given={"spending": [ROW]}, ask=[ASKED], expect=[{"share": 0.25}]), ALL
    ).passed


def test_values_of_every_kind_are_compared_as_they_are_written() -> None:
    given = {"price": Number("1.10"), "tags": ["a", None], "seen": "2024-03-01T12:00+02:00", "born": "2000-02-29"}
    row = {"user_id": 1, "event_timestamp": DAY, **given, "born": datetime(2000, 2, 29).date()}  # noqa: DTZ001
    whole = FeatureService(name="whole", features=[FACTS])
    ask = [{"user_id": 1, "event_timestamp": DAY}]
    fine = FeatureCase(of=whole, given={"facts": [row]}, ask=ask, expect=[given | {"price": "1.1"}])
    assert run_case(fine).passed
    wrong = FeatureCase(of=whole, given={"facts": [row]}, ask=ask, expect=[given | {"tags": ["a", "b"]}])
    assert {one[1] for one in said(run_case(wrong))} == {"tags"}


def test_rows_that_are_kept_aside_are_counted() -> None:
    bad = ROW | {"total": -1.0}
    assert run_case(FeatureCase(of="spending", given={"spending": [bad]}, quarantined={"spending": 1}), ALL).passed
    unsaid = FeatureCase(of="scoring", given={"spending": [bad]}, ask=[ASKED], expect=[{"total": None}])
    assert said(run_case(unsaid, ALL)) == [("given", "quarantined", "0", "1 (1 where total is under 0)")]


@pytest.mark.parametrize(
    ("case", "error", "hint"),
    [
        (FeatureCase(of="scorin", expect=[{}]), 'no feature service or view "scorin"', 'Did you mean "scoring"?'),
        (FeatureCase(of="scoring", expect=[{}]), "asks", "ask="),
        (FeatureCase(of="spending", ask=[{}], expect=[{}]), "there is nothing to ask for", "Leave ask out"),
        (FeatureCase(of="scoring", ask=[ASKED], expect=[{"totl": 1}]), 'gives no "totl"', '"total"'),
        (FeatureCase(of="basket", ask=[{"amout": 1}], expect=[{}]), 'takes no "amout"', '"amount"'),
        (
            FeatureCase(of="scoring", given={"spendings": []}, ask=[ASKED], expect=[{}]),
            'no view or source "spendings"',
            '"spending"',
        ),
        (
            FeatureCase(of="scoring", given={"spending": [{"totl": 1}]}, ask=[ASKED], expect=[{}]),
            'no column "totl"',
            '"total"',
        ),
        (
            FeatureCase(of="scoring", given={"spending": [ROW | {"total": "much"}]}, ask=[ASKED], expect=[{}]),
            'have in "total" what is no double',
            "",
        ),
        (
            FeatureCase(
                of="spending", given={"spending": [ROW | {"event_timestamp": "2024-03-02T06:00"}]}, expect=[ROW]
            ),
            "event_timestamp=2024-03-02T06:00:00, which names no time zone",
            "2024-03-02T06:00:00Z",
        ),
        (
            FeatureCase(of="scoring", ask=[ASKED | {"event_timestamp": "2024-03-03"}], expect=[{}]),
            "Row 1 of ask has event_timestamp",
            "with its zone",
        ),
        (FeatureCase(of="scoring", ask=[{"event_timestamp": DAY, "amount": 1.0}], expect=[{}]), '"user_id"', ""),
        (
            FeatureCase(of="spending", given={"orders": [{"ordered_at": DAY}]}, expect=[{"total": 1}]),
            'The query of feature view "spending" cannot run over its sources',
            "",
        ),
    ],
)
def test_a_case_that_cannot_be_run_says_why(case: FeatureCase, error: str, hint: str) -> None:
    result = run_case(case, ALL)
    assert not result.passed
    assert error in result.error
    assert hint in result.hint


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"of": ""}, "A case is of ''"),
        ({"of": "scoring"}, 'of "scoring" expects nothing'),
        ({"of": "scoring", "ask": [ASKED], "expect": [{}, {}]}, "asks for 1 rows and expects 2"),
        ({"of": "scoring", "ask": [1], "expect": [{}]}, "has 1 in ask"),
        ({"of": "scoring", "given": [ROW], "expect": [{}]}, "which is not a dict"),
        ({"of": "scoring", "expect": [{}], "tolerance": -1}, "tolerance=-1"),
    ],
)
def test_a_case_whose_parts_do_not_fit_is_refused_where_it_is_written(parts: dict[str, Any], error: str) -> None:
    with pytest.raises(DefinitionError, match=error) as caught:
        FeatureCase(**parts)
    assert "test_cases.py:" in caught.value.where


@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.floats(), max_size=3))
def test_every_value_is_the_same_as_itself_and_null_only_as_null(value: Any) -> None:
    assert same(value, value, 0.0)
    assert same(None, value, 1.0) == (value is None)


def test_one_is_not_true() -> None:
    assert not same(1, True, 0.0)
    assert not same(True, 1.0, 0.0)


# ------------------------------------------------------------------------------------------- command and plugin

DEFINITIONS = """\
from featurestore import Entity, FeatureService, FeatureView, Field
from featurestore.types import Float64, Int64

user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
spending = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64, ge=0)])
scoring = FeatureService(name="scoring", features=[spending])
"""
CASES = """\
from featurestore.testing import FeatureCase

at = "2024-03-02T00:00Z"
rows = {"spending": [{"user_id": 1, "event_timestamp": at, "total": 3.0}]}
many = [
    FeatureCase(of="scoring", given=rows, ask=[{"user_id": key, "event_timestamp": at}], expect=[{"total": total}])
    for key, total in ((1, 3.0), (2, None))
]
wrong = FeatureCase(of="scoring", given=rows, ask=[{"user_id": 1, "event_timestamp": at}], expect=[{"total": 4.0}])
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "featurestore.toml").write_text('project = "shop"\n')
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "cases.py").write_text(CASES)
    return tmp_path


def test_the_command_says_expected_against_got_and_leaves_nothing(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(repo.iterdir())
    assert run(["test", "--repo", str(repo)], debug=False) == 1
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "ok     many[1]",
        "ok     many[2]",
        "FAILED wrong",
        "",
        f"wrong, of scoring ({repo}/cases.py:9)",
        "  row 1: user_id=1, event_timestamp=2024-03-02T00:00:00+00:00",
        "    feature  expected  got  path",
        "    total    4.0       3.0  offline and online",
        "",
        "2 passed, 1 failed.",
    ]
    assert [one for one in sorted(repo.iterdir()) if one.name != "__pycache__"] == before
    assert run(["test", "-k", "many", "--repo", str(repo)], debug=False) == 0
    assert capsys.readouterr().out.endswith("\n2 passed, 0 failed, 1 left out.\n")


def test_without_cases_the_command_shows_how_to_write_one(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / "cases.py").unlink()
    assert run(["test", "--repo", str(repo)], debug=False) == 1
    said = capsys.readouterr().err
    assert 'of="scoring"' in said
    assert '"user_id": ..., "event_timestamp": "2024-01-01T06:00Z", "total": ...' in said


def test_a_file_of_cases_that_fails_is_named_with_its_line(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / "cases.py").write_text(CASES + "FeatureCase(of='scoring')\n")
    assert run(["test", "--repo", str(repo)], debug=False) == 1
    assert 'cases.py:10: A case of "scoring" expects nothing.' in capsys.readouterr().err


def test_a_file_that_fails_does_not_keep_the_cases_of_others_from_running(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "bad_cases.py").write_text(CASES + "FeatureCase(of='scoring')\n")
    assert run(["test", "--repo", str(repo)], debug=False) == 1
    said = capsys.readouterr()
    assert 'bad_cases.py:10: A case of "scoring" expects nothing.' in said.err
    assert said.out.endswith("\n2 passed, 1 failed; files that could not be read: bad_cases.py.\n")
    (repo / "cases.py").unlink()
    assert run(["test", "--repo", str(repo)], debug=False) == 1
    assert "There is no case" not in capsys.readouterr().err


def test_what_matches_no_case_and_a_file_that_is_not_there_are_said(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test", "-k", "nothing", "--repo", str(repo)], debug=False) == 1
    assert 'No case matches "nothing": there are many[1], many[2], wrong.' in capsys.readouterr().err
    assert run(["test", "nofile.py", "--repo", str(repo)], debug=False) == 1
    said = capsys.readouterr().err
    assert "There is no file nofile.py" in said
    assert "definitions" not in said


def test_in_pytest_each_case_is_a_test_and_a_store_is_a_fixture(repo: Path) -> None:
    (repo / "pytest.ini").write_text("[pytest]\nfeaturestore_repo = .\npython_files = test_*.py cases.py\n")
    (repo / "test_more.py").write_text(
        "def test_rows(feature_store):\n"
        "    report = feature_store.ingest('spending', [])\n"
        "    assert report.written == 0\n"
        "    assert feature_store.config.root.name == 'featurestore'\n"
    )
    # The environment may have been installed before there was the plugin; -p loads it once in either case.
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "featurestore.testing.pytest_plugin", "-p", "no:cacheprovider"],
        cwd=repo,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "1 failed, 3 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "    total    4.0       3.0  offline and online" in ran.stdout
    assert "FAILED cases.py::wrong" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_the_cases_of_the_example_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("definitions.py", "cases.py"):
        (tmp_path / name).write_text((ROOT / "examples" / "nycflights" / name).read_text())
    (tmp_path / "featurestore.toml").write_text('project = "flights"\n')
    assert run(["test", "--repo", str(tmp_path)], debug=False) == 0
    assert "4 passed, 0 failed." in capsys.readouterr().out
