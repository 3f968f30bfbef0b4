"""A report is one page that asks for nothing, shows names as they are written, and says what there is not."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from featurestore import plots
from featurestore.cli.app import run
from featurestore.errors import ConfigError
from featurestore.statistics.estimate import Estimate
from monitor.alerts.incident_state import Incident, Member
from monitor.alerts.showing import Happening
from monitor.decisions import Decision
from monitor.detector import Evidence
from monitor.parity.report import FeatureSkew, ParityReport
from monitor.report import Report, Series, Story, page, picture

NOW = datetime(2026, 5, 2, tzinfo=UTC)
HOSTILE = "<script>alert('\"&')</script>"
ARABIC = "ميزة"
LONG = "x" * 300
FINDING = {
    "service": "scoring@1",
    "rule": "drift",
    "summary": "it drifted",
    "suggestedAction": f"Look at {HOSTILE}.",
    "onset": "2026-05-01T00:00:00Z",
    "evidence": {"logValue": 9.1, "logLimit": 7.7, "windows": 3},
    "reasons": [f"{HOSTILE} has gone"],
    "features": [
        {
            "feature": HOSTILE,
            "statistic": "kolmogorov_smirnov",
            "effect": 0.5,
            "effectLow": 0.4,
            "effectHigh": 0.6,
            "threshold": 0.1,
            "baselineMean": 1.0,
            "currentMean": 2.0,
            "baselineRows": "9000",
            "currentRows": "100",
            "source": ARABIC,
            "histogram": {"labels": [HOSTILE, LONG, LONG], "baseline": [0.5, 0.3, 0.2], "current": [0.1, 0.4, 0.5]},
        }
    ],
}


class Read(HTMLParser):
    """The tags of a page with their attributes, and what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def _report(**changes: Any) -> Report:
    member = Member(
        alert="a", episode=1, policy="watch", service="scoring@1", rule="drift", joined_at=NOW, summary=HOSTILE
    )
    incident = Incident(number=12, group="g", episode=1, cause=f"source {ARABIC}", opened_at=NOW, members=(member,))
    happened = Happening(at=NOW, what="acknowledged", who=HOSTILE, text=LONG)
    ends = tuple(NOW + timedelta(hours=number) for number in range(3))
    service = {"service": "scoring@1", "slice": "", "verdict": "drift", "windows": 3, "rows": 300, "baseline": "b@1"}
    values: dict[str, Any] = {
        "project": HOSTILE,
        "replay": "",
        "made_at": NOW,
        "status": {"watermark": None, "policies": [{"services": [service]}], "outbox": {"dead": 1}},
        "stories": (Story(incident=incident, happened=(happened,), findings=(FINDING,)),),
        "series": (
            Series(policy="watch@1", service=HOSTILE, ends=ends, evidence=(1.0, None, 9.1), limits=(7.7, None, 7.7)),
        ),
    }
    return Report(**values | changes)


def test_names_are_shown_as_they_are_written_and_nothing_is_fetched_or_run() -> None:
    text = page(_report())
    read = Read(text)
    assert {tag for tag, _ in read.tags} & {"script", "link", "iframe", "object", "form"} == set()
    said = " ".join(read.said)
    assert f"drift of scoring@1: {HOSTILE}" in said
    assert {HOSTILE, ARABIC} <= set(read.said)
    assert f"acknowledged by {HOSTILE}" in said
    pictures = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(pictures) == 2
    for one in pictures:
        assert one["alt"]
        source = one["src"] or ""
        assert source.startswith("data:image/svg+xml;base64,")
        drawn = base64.b64decode(source.partition(",")[2]).decode()
        assert "<script" not in drawn
        assert not re.search(r"(?:href|src)=", drawn)
    assert [one["content"] for tag, one in read.tags if tag == "meta" and one.get("http-equiv")] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]


def test_without_what_draws_a_picture_is_a_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ConfigError("Pictures need the extra of plots.")

    monkeypatch.setattr(plots, "_libraries", missing)
    read = Read(page(_report()))
    assert "img" not in {tag for tag, _ in read.tags}
    assert any("now     " in one for one in read.said)


def test_a_monitor_that_knows_nothing_says_so() -> None:
    empty = _report(stories=(), series=(), status={"watermark": None, "policies": [], "outbox": {}})
    said = Read(page(empty)).said
    assert {"No incident goes on.", "Nothing was judged yet."} <= set(said)
    assert picture(empty) is None


def test_the_picture_is_of_what_moved_first_and_else_of_the_evidence() -> None:
    moved = picture(_report(replay="july"))
    assert moved is not None
    assert moved.to_dict()["title"].startswith("REPLAY july: incident 12, scoring@1: <script>")
    went = picture(_report(stories=()))
    assert went is not None
    assert went.to_dict()["title"] == f"{HOSTILE}, by policy watch@1"


def test_a_notebook_shows_what_was_decided_and_what_was_compared() -> None:
    evidence = Evidence(
        log_value=9.1,
        log_limit=7.7,
        windows=3,
        alarm=True,
        features={},
        onset=NOW,
        kinds={},
        log_values={},
        log_limits={},
    )
    decision = Decision(verdict="drift", evidence=evidence, findings=(), onset=NOW)
    shown = Read(decision._repr_html_()).said
    assert "drift: evidence ln 9.10 against a limit of ln 7.70, since 2026-05-02 00:00" in shown
    skew = FeatureSkew(
        feature=HOSTILE,
        view="spending",
        views=("spending@1",),
        rows={"unexplained": 2},
        requests=9,
        wrong_requests=2,
        share=Estimate(0.2, 0.1, 0.3),
    )
    report = ParityReport(
        service="scoring@1",
        checked=9,
        values=18,
        mismatches=2,
        lagged=0,
        late=0,
        by_feature={},
        features=(skew,),
        examples=(),
    )
    shown = Read(report._repr_html_()).said
    assert {"scoring@1: 9 rows (18 values) compared, 2 mismatches, 0 lagged", HOSTILE, "2 unexplained"} <= set(shown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "A report needs a file."),
        (["--html", "a.txt"], "no name of a page"),
        (["--png", "a.gif"], "no name of a picture"),
    ],
)
def test_a_report_of_no_file_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["monitor", "report", "--repo", str(tmp_path), *arguments], debug=False) == 1
    assert said in capsys.readouterr().err
