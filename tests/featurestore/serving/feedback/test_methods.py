"""Predictions and outcomes over gRPC, with a server process that may be killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.client import FeatureClient
from featurestore.types import Int64
from featurestore.v1 import serving_pb2 as pb
from tests import forking

CLOCK = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feedback") / "repo"
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="counts", entities=[user], schema=[Field(name="x", dtype=Int64)])
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        store.ingest("counts", [{"user": 1, "x": 1, "event_timestamp": CLOCK}])
        store.materialize("counts")
        rows = [{"user": 1, "event_timestamp": datetime.now(UTC), "label": 1.0}]
        store.create_training_dataset("set", entity_df=rows, features="svc", label="label")
        for _ in range(2):
            store.registry.record_model(Model(name="churn", service="svc@1", dataset="set@1"), who="tests")
    return folder


class Served:
    """A server process, and a channel to it."""

    def __init__(self, repo: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(repo), *arguments]
        self.process = forking.Forked(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r" at (127\.0\.0\.1:\d+),", line)
        assert found, line
        self.address = found[1]
        self.channel = grpc.insecure_channel(self.address)

    def predict(self, *rows: dict[str, Any], model: str = "churn") -> pb.LogPredictionsResponse:
        request = pb.LogPredictionsRequest(model=model, predictions=[pb.Prediction(**row) for row in rows])
        return self.call("LogPredictions", request, pb.LogPredictionsResponse)

    def observe(self, *rows: dict[str, Any], model: str = "churn") -> pb.LogOutcomesResponse:
        request = pb.LogOutcomesRequest(model=model, outcomes=[pb.Outcome(**row) for row in rows])
        return self.call("LogOutcomes", request, pb.LogOutcomesResponse)

    def call(self, method: str, request: Any, answer: Any) -> Any:
        sent = self.channel.unary_unary(f"/featurestore.v1.ServingService/{method}")
        return answer.FromString(sent(request.SerializeToString(), timeout=20))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.channel.close()
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(30)


@pytest.fixture
def serve(repo: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def begin(*arguments: str) -> Served:
        running.append(Served(repo, *arguments))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def test_what_a_server_acknowledged_is_there_after_it_was_killed(serve: Callable[..., Served], repo: Path) -> None:
    server = serve()
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda n: server.predict({"prediction_id": f"k{n}", "number": n}), range(200)))
    outcome = server.observe(
        {"prediction_id": "k7", "number": 1.0}, {"prediction_id": "k7", "metric": "x", "label": "y"}
    )
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    assert {(one.model, one.predictions_logged) for one in answers} == {("churn@2", 1)}
    assert outcome.outcomes_logged == 2
    with FeatureStore(repo) as store:
        # Other tests have predictions of this model too.
        found = [one for one in store.predictions("churn").to_pylist() if one["prediction_id"].startswith("k")]
        assert {one["prediction_id"]: one["number"] for one in found} == {f"k{n}": float(n) for n in range(200)}
        assert store.outcomes("churn").column("metric").to_pylist() == ["", "x"]


def test_a_call_that_cannot_be_taken_has_the_status_that_says_why(serve: Callable[..., Served]) -> None:
    server = serve()
    good = {"prediction_id": "a", "number": 1.0}
    for request, code, said in (
        (lambda: server.predict(good, model="churm"), "NOT_FOUND", 'Did you mean "churn"'),
        (lambda: server.predict(good, model="churn@9"), "NOT_FOUND", "churn@1, churn@2"),
        (lambda: server.predict(good, model=""), "INVALID_ARGUMENT", "names no model"),
        (lambda: server.predict(good, {"prediction_id": "b"}), "INVALID_ARGUMENT", r"predictions[1].value is missing"),
        (lambda: server.observe(good | {"number": float("nan")}), "INVALID_ARGUMENT", r"outcomes[0].number is not"),
        (lambda: server.observe(*[good] * 10_001), "RESOURCE_EXHAUSTED", "10,001 outcomes; at most 10,000"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            request()
        assert (caught.value.code().name, said in caught.value.details()) == (code, True), caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(good, {"prediction_id": "b"})
    bad = error_details_pb2.BadRequest()
    (packed,) = [value for key, value in caught.value.trailing_metadata() if key == "grpc-status-details-bin"]
    for detail in status_pb2.Status.FromString(packed).details:
        detail.Unpack(bad)
    assert [one.field for one in bad.field_violations] == ["predictions[1].value"]
    with pytest.raises(grpc.RpcError, match="is not a LogOutcomesRequest"):
        server.channel.unary_unary("/featurestore.v1.ServingService/LogOutcomes")(b"\xff\xff", timeout=20)
    assert server.predict().predictions_logged == 0
    assert server.end() == 0


def test_a_disk_that_refuses_makes_calls_unavailable_and_lookups_go_on(
    serve: Callable[..., Served], repo: Path
) -> None:
    folder = repo / "data" / "feedback"
    kept = folder.with_name("kept")
    if folder.exists():
        folder.rename(kept)
    folder.write_text("in the way of the folder")
    server = serve()
    try:
        with pytest.raises(grpc.RpcError) as caught:
            server.predict({"prediction_id": "a", "number": 1.0})
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "Hint: " in caught.value.details()
        with FeatureClient(server.address) as client:
            assert client.get_online_features("svc", [{"user": 1}]).to_dict() == {"x": [1]}
    finally:
        folder.unlink()
        if kept.exists():
            kept.rename(folder)
    assert server.predict({"prediction_id": "after", "number": 1.0}).predictions_logged == 1
    assert server.end() == 0


def test_a_rehearsal_has_a_folder_and_a_clock_of_its_own(serve: Callable[..., Served], repo: Path) -> None:
    server = serve("--replay", "spring", "--clock", "2013-01-01T00:00:00Z")
    assert server.predict({"prediction_id": "rehearsed", "number": 1.0}).model == "churn@2"
    with pytest.raises(grpc.RpcError, match="lies in the future"):
        server.predict(
            {"prediction_id": "late", "number": 1.0, "predicted_at": int(datetime.now(UTC).timestamp() * 1e6)}
        )
    assert server.end() == 0
    with FeatureStore(repo, replay="spring") as store:
        (row,) = store.predictions("churn").to_pylist()
    assert (row["prediction_id"], row["predicted_at"]) == ("rehearsed", CLOCK)
    with FeatureStore(repo) as store:
        assert "rehearsed" not in store.predictions("churn").column("prediction_id").to_pylist()
