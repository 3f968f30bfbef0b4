"""The contract holds for a client that shares no code with us: an HTTP/2 client that has never heard of gRPC."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Float64, Int64
from featurestore.v1 import serving_pb2 as pb


def binary(name: str, package: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails where REQUIRE_SERVICES is set."""
    path = shutil.which(name)
    if path is None:
        reason = f"needs the program {name} (Debian's package {package})"
        if os.environ.get("REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


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
    server = subprocess.Popen(
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

    return datetime(2024, 1, 1, tzinfo=UTC)


def call(address: str, path: str, message: bytes, folder: Path) -> tuple[bytes, str]:
    """Return the body and what the client says of headers and trailers."""
    body = folder / "request"
    body.write_bytes(b"\x00" + struct.pack(">I", len(message)) + message)
    arguments = ["-v", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(body)]
    program = binary("nghttp", "nghttp2-client")
    said = subprocess.run([program, *arguments, f"http://{address}{path}"], capture_output=True, check=True).stdout
    answer = subprocess.run(
        [program, *[one for one in arguments if one != "-v"], f"http://{address}{path}"],
        capture_output=True,
        check=True,
    ).stdout
    return answer, said.decode(errors="replace")


def test_a_lookup_by_a_plain_http2_client(address: str, tmp_path: Path) -> None:
    request = pb.GetOnlineFeaturesRequest(service="scoring", request_id="from-outside")
    request.columns.add(name="user_id").int64s.values.extend([1, 2])
    answer, said = call(
        address, "/featurestore.v1.ServingService/GetOnlineFeatures", request.SerializeToString(), tmp_path
    )
    assert "grpc-status: 0" in said
    compressed, length = struct.unpack(">BI", answer[:5])
    assert (compressed, length) == (0, len(answer) - 5)
    response = pb.GetOnlineFeaturesResponse.FromString(answer[5:])
    assert response.request_id == "from-outside"
    assert response.service == "scoring@1"
    assert [row.status for row in response.rows] == [pb.ROW_STATUS_PRESENT, pb.ROW_STATUS_NOT_FOUND]
    assert list(response.rows[0].doubles) == [10.5]


def test_an_unknown_service_is_not_found_and_named(address: str, tmp_path: Path) -> None:
    request = pb.GetOnlineFeaturesRequest(service="scorin")
    _, said = call(address, "/featurestore.v1.ServingService/GetOnlineFeatures", request.SerializeToString(), tmp_path)
    assert "grpc-status: 5" in said
    assert "scorin" in said


def test_the_clock_of_a_live_server_cannot_be_touched(address: str, tmp_path: Path) -> None:
    message = pb.AdvanceClockRequest(now=1).SerializeToString()
    _, said = call(address, "/featurestore.v1.ReplayService/AdvanceClock", message, tmp_path)
    assert "grpc-status: 12" in said


def test_the_standard_health_check_answers(address: str, tmp_path: Path) -> None:
    answer, said = call(address, "/grpc.health.v1.Health/Check", b"", tmp_path)
    assert "grpc-status: 0" in said
    assert answer[5:] == b"\x08\x01"
