"""The contract holds for a client that shares no code with us: an HTTP/2 client that has never heard of gRPC."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Float64, Int64
from featurestore.v1 import serving_pb2 as pb
from tests.forking import Forked

#: Calls a method with a serialized message; returns the body, and what the client says of headers and trailers.
Call = Callable[[str, bytes], tuple[bytes, str]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of one service with one row."""
    folder = tmp_path_factory.mktemp("shop")
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([FeatureService(name="scoring", features=[view])])
        store.ingest("spending", [{"user_id": 1, "total": 10.5, "event_timestamp": datetime(2024, 1, 1, tzinfo=UTC)}])
        store.materialize("spending")
    server = Forked(
        [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture
def call(address: str, program: Callable[[str, str], str], tmp_path: Path) -> Call:
    nghttp = program("nghttp", "nghttp2-client")

    def ask(method: str, message: bytes) -> tuple[bytes, str]:
        body = tmp_path / "request"
        body.write_bytes(b"\x00" + struct.pack(">I", len(message)) + message)
        arguments = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(body)]
        command = [nghttp, *arguments, f"http://{address}/{method}"]
        said = subprocess.run([*command, "-v"], capture_output=True, check=True).stdout
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        return answer, said.decode(errors="replace")

    return ask


def test_a_lookup_by_a_plain_http2_client(call: Call) -> None:
    request = pb.GetOnlineFeaturesRequest(service="scoring", request_id="from-outside")
    request.columns.add(name="user_id").int64s.values.extend([1, 2])
    answer, said = call("featurestore.v1.ServingService/GetOnlineFeatures", request.SerializeToString())
    assert "grpc-status: 0" in said
    compressed, length = struct.unpack(">BI", answer[:5])
    assert (compressed, length) == (0, len(answer) - 5)
    response = pb.GetOnlineFeaturesResponse.FromString(answer[5:])
    assert response.request_id == "from-outside"
    assert response.service == "scoring@1"
    assert [row.status for row in response.rows] == [pb.ROW_STATUS_PRESENT, pb.ROW_STATUS_NOT_FOUND]
    assert list(response.rows[0].doubles) == [10.5]


def test_an_unknown_service_is_not_found_and_named(call: Call) -> None:
    request = pb.GetOnlineFeaturesRequest(service="scorin")
    _, said = call("featurestore.v1.ServingService/GetOnlineFeatures", request.SerializeToString())
    assert "grpc-status: 5" in said
    assert "scorin" in said


def test_the_clock_of_a_live_server_cannot_be_touched(call: Call) -> None:
    message = pb.AdvanceClockRequest(now=1).SerializeToString()
    _, said = call("featurestore.v1.ReplayService/AdvanceClock", message)
    assert "grpc-status: 12" in said


def test_the_standard_health_check_answers(call: Call) -> None:
    answer, said = call("grpc.health.v1.Health/Check", b"")
    assert "grpc-status: 0" in said
    assert answer[5:] == b"\x08\x01"
