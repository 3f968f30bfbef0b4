"""What a notebook shows of what the store returns: names as they are written, whatever they hold, and no value."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import PushSource
from featurestore.erasure import ErasureReport, PlaceReport
from featurestore.materialize import MaterializeReport, Mode
from featurestore.offline.datasets.diff import DatasetDiff
from featurestore.offline.datasets.reproducing import Reproduction
from featurestore.offline.intake.comparing import Counts
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.intake.preview import BackfillReport, Preview
from featurestore.offline.join.explanation import Explanation
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.tables.compacting import CompactReport
from featurestore.offline.tables.garbage import Garbage
from featurestore.offline.tables.restoring import RestoreReport
from featurestore.pushing.pusher import PushReport
from featurestore.registry.comparison import Comparison
from featurestore.registry.differences import Difference
from featurestore.registry.verifying import AuditReport, Problem
from featurestore.store.tables import GcReport
from featurestore.types import Float64, Int64
from tests.featurestore.test_markup import Read

#: A name that is markup, 300 characters long, and in part written from the right.
HOSTILE = "<script>alert(1)</script> \"'&<!-- --> \u05d0\u05d1" + "x" * 260
AT = datetime(2026, 3, 1, tzinfo=UTC)


def _preview() -> Preview:
    counts = Counts(added=1, changed=0, removed=0, unchanged=0)
    return Preview(
        view=HOSTILE, interval=Interval(None, None), counts=counts, quarantined={}, features=(), datasets=(), models=()
    )


REPORTS = [
    IngestReport(view=HOSTILE, loads=(), skipped=1, notes=(), seconds=0.1),
    MaterializeReport(
        view=HOSTILE, mode=Mode.incremental, read=1, written=1, older=0, expired=0, rejected=0, seconds=0.1
    ),
    PushReport(view=HOSTILE, accepted=1),
    CompactReport(view=HOSTILE, rows=0, files_before=1, files_after=1, bytes_before=9, bytes_after=9, seconds=0.1),
    RestoreReport(
        view=HOSTILE, to_version=1, at=AT, withdrawn=(), reinstated=(), rows_before=1, rows_after=1, seconds=0.1
    ),
    DatasetDiff(
        old=HOSTILE,
        new="b@2",
        same=True,
        count=(1, 1),
        rows=None,
        definitions=(),
        added={},
        removed={},
        retyped={},
        columns=(),
    ),
    Reproduction(dataset=HOSTILE, rows=3, expected="a", found="a", erased={}),
    _preview(),
    BackfillReport(preview=_preview(), load=None, seconds=0.1),
    Explanation(service=HOSTILE, entity_rows=1, as_of=None, known_at=None, uses=(), seconds=0.1),
    Comparison(kind="feature_view", old="a@1", new="a@2", differences=(Difference(HOSTILE, "1", "2"),), breaking=()),
    GcReport(
        removed=(Garbage(kind="replaced", what="a", paths=(), size=9),),
        kept=(Garbage(kind="dataset", what="b", paths=(), size=9, kept_by=HOSTILE),),
        young=(Garbage(kind="log", what="c", paths=(), size=9, young=True),),
        dry_run=True,
    ),
    ErasureReport(
        request="r1",
        entity="user",
        keys=1,
        suppressed=1,
        dry_run=False,
        places=(PlaceReport(place="tables", rows=1, files=1),),
        not_reached=(HOSTILE,),
    ),
    AuditReport(
        project="shop",
        entries=3,
        heads=1,
        vouched=3,
        vouched_at=AT,
        vouched_by="",
        problems=(Problem(what=HOSTILE),),
        warnings=(),
    ),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda one: type(one).__name__)
def test_a_hostile_name_in_a_report_is_shown_as_it_is_written(report: Any) -> None:
    shown = Read(report._repr_html_())
    assert HOSTILE in "".join(shown.said)
    assert set(shown.tags) <= {"pre", "p", "ul", "li", "table", "caption", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("report", REPORTS[:10], ids=lambda one: type(one).__name__)
def test_a_report_that_is_printed_in_sentences_is_shown_as_print_does(report: Any) -> None:
    assert "".join(Read(report._repr_html_()).said) == str(report)


def test_what_a_collection_did_is_told_of_each_of_its_finds() -> None:
    (report,) = (one for one in REPORTS if isinstance(one, GcReport))
    said = Read(report._repr_html_()).said
    assert "9 bytes would be removed" in said
    assert [one for one in said if one in {"goes", "was written just now"} or one.startswith("kept")] == [
        "goes",
        f"kept: {HOSTILE}",
        "was written just now",
    ]


def test_a_notebook_shows_what_was_asked_of_the_past_and_joins_nothing_for_it(tmp_path: Path) -> None:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    spending = FeatureView(
        name="spending",
        entities=[user],
        schema=[Field(name="total", dtype=Float64)],
        source=PushSource(name="orders", created_timestamp_column=None),
    )
    with FeatureStore.init(tmp_path, project="shop") as store:
        store.apply([FeatureService(name="churn", features=[spending])])
        store.ingest("spending", [{"user_id": 1, "total": 7777.5, "event_timestamp": AT}])
        asked = [{"user_id": 1, "event_timestamp": AT, HOSTILE: True}]
        past = store.get_historical_features(asked, "churn", known_at="row")
        shown = Read(past._repr_html_())
        assert past._explanation is None  # nothing has read a file
        assert {"churn@1", "entity rows", "1", "total", "each row's instant"} <= set(shown.said)
        assert any(HOSTILE in one for one in shown.said)
        assert "script" not in shown.tags
        batch = Read(store.get_batch_features("churn", [{"user_id": 1}])._repr_html_())
        assert {"churn@1", "rows", "instant"} <= set(batch.said)
        for name in ("a", "b"):
            store.create_training_dataset(name, entity_df=asked, features="churn", label=HOSTILE)
        store.log_model("m", service="churn", dataset="a", metrics={HOSTILE: 0.5})
        store.log_model("m", service="churn", dataset="b", metrics={HOSTILE: 0.75})
        models = Read(store.compare_models("m@1", "m@2")._repr_html_())
        assert {"m@1", "m@2", HOSTILE, "0.5", "0.75", "+0.25"} <= set(models.said)
        origins = Read(store.lineage("spending:total")._repr_html_())
        assert any("orders" in one for one in origins.said)
    for read in (shown, batch, models, origins):
        assert not any("7777.5" in one for one in read.said)


#: What methods of the store return beside reports: records of the registry and of streams, whose fields say all;
#: answers, which have a text of their own; and things to work with.
PLAIN = {"Alias", "Consent", "DType", "FeatureClient", "Fed", "Head", "Kept", "Load", "Logged", "Match", "ModelRecord"}
PLAIN |= {"OnlineFeatures", "Promotion", "Registered", "Transferred"}


def test_every_report_that_a_method_of_the_store_returns_shows_itself() -> None:
    plain = set()
    for name, method in inspect.getmembers(FeatureStore, inspect.isfunction):
        if name.startswith("_"):
            continue
        names = vars(inspect.getmodule(method))
        returned = [names.get(one) for one in re.findall(r"\w+", str(inspect.signature(method).return_annotation))]
        ours = [one for one in returned if inspect.isclass(one) and one.__module__.startswith("featurestore.")]
        plain |= {one.__name__ for one in ours if not hasattr(one, "_repr_html_")}
    assert plain == PLAIN
