"""Who is let in, asked over real connections: statuses, limits of tokens, streams that outlive theirs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from structlog.testing import capture_logs

from featurestore.serving.rpc.admission import TokenAdmission
from featurestore.serving.rpc.server import Methods
from featurestore.serving.tokens import KnownTokens, caller
from featurestore.v1 import serving_pb2 as pb

SERVICE = "/featurestore.v1.ServingService/"
ADVANCE = "/featurestore.v1.ReplayService/AdvanceClock"
#: By path, the scope that it needs.
UNARY = {
    f"{SERVICE}GetOnlineFeatures": "read",
    f"{SERVICE}GetServiceSchema": "read",
    f"{SERVICE}PushFeatures": "push",
    f"{SERVICE}LogPredictions": "log",
    f"{SERVICE}LogOutcomes": "log",
    ADVANCE: "admin",
}
STREAM = f"{SERVICE}StreamOnlineFeatures"

Serving = Callable[..., Any]
Make = Callable[..., Any]


def lookup(service: str = "some") -> pb.GetOnlineFeaturesRequest:
    request = pb.GetOnlineFeaturesRequest(service=service)
    request.columns.add(name="origin").strings.values.append("JFK")
    return request


async def named(_: bytes) -> bytes:
    """Answer with who calls."""
    who = caller.get()
    return b"" if who is None else who.name.encode()


METHODS = Methods(advance=lambda _: 0, others={"PushFeatures": named, "LogPredictions": named, "LogOutcomes": named})


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    """Return the status of a call."""
    try:
        call()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def request_of(path: str) -> bytes:
    if path == ADVANCE:
        return pb.AdvanceClockRequest(now=2**50).SerializeToString()
    return lookup().SerializeToString() if path.endswith("GetOnlineFeatures") else b"\x0a\x04some"


@pytest.mark.parametrize("scope", ["read", "push", "log", "signals", "admin"])
def test_a_token_opens_the_methods_of_its_scope_and_no_other(serving: Serving, token: Make, scope: str) -> None:
    known = KnownTokens()
    made, metadata = token("mine", scope)
    known.replace([made])
    served = serving(methods=METHODS, admission=TokenAdmission(known))
    with grpc.insecure_channel(served.address) as channel:
        for path, needed in UNARY.items():
            call = channel.unary_unary(path)
            code = code_of(lambda call=call, path=path: call(request_of(path), metadata=metadata))
            fine = scope in (needed, "admin")
            assert code is (grpc.StatusCode.OK if fine else grpc.StatusCode.PERMISSION_DENIED), path
            for wrong in ((), (("authorization", "Bearer fs_nobody_x"),)):
                code = code_of(lambda call=call, path=path, wrong=wrong: call(request_of(path), metadata=wrong))
                assert code is grpc.StatusCode.UNAUTHENTICATED, path
        asked = pb.StreamOnlineFeaturesRequest(correlation_id=7, request=lookup()).SerializeToString()
        stream = channel.stream_stream(STREAM)
        for shown, expected in ((metadata, scope in ("read", "admin")), ((), False)):
            code = code_of(lambda shown=shown: list(stream(iter([asked]), metadata=shown)))
            assert (code is grpc.StatusCode.OK) == expected
    assert served.settle() == 0


def test_a_refusal_says_what_to_do_to_people_and_to_programs(serving: Serving, token: Make) -> None:
    known = KnownTokens()
    made, metadata = token("mine", "log")
    known.replace([made])
    served = serving(admission=TokenAdmission(known))
    with capture_logs() as logged, grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary(f"{SERVICE}GetOnlineFeatures")
        for shown, sentence, hint in (
            ((), "This server asks for a token, and it is missing.", "authorization: Bearer TOKEN"),
            (metadata, 'Token "mine" is for log; GetOnlineFeatures needs one for read.', "--scope read"),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", metadata=shown)
            said, _, told = refused.value.details().partition("\nHint: ")
            assert said == sentence
            assert hint in told
            status = rpc_status.from_call(refused.value)
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            assert (info.reason, info.domain) == (refused.value.code().name, "featurestore")
            assert info.metadata["hint"] == told
    assert served.watcher.codes == [
        ("GetOnlineFeatures", "UNAUTHENTICATED"),
        ("GetOnlineFeatures", "PERMISSION_DENIED"),
    ]
    assert logged == []  # faults of callers are no news


def test_a_stranger_is_refused_before_his_request_is_read(serving: Serving) -> None:
    served = serving(admission=TokenAdmission(KnownTokens()))
    with grpc.insecure_channel(served.address) as channel:
        big = code_of(lambda: channel.unary_unary(f"{SERVICE}GetOnlineFeatures")(b"x" * (8 << 20)))
        assert big is grpc.StatusCode.UNAUTHENTICATED

        def never() -> Any:
            threading.Event().wait(20)
            yield b""

        # A request that never comes: to the server it is the same as one that is slow.
        call = channel.stream_stream(f"{SERVICE}GetOnlineFeatures")(never(), timeout=10)
        assert code_of(lambda: next(call)) is grpc.StatusCode.UNAUTHENTICATED
    assert served.settle() == 0


def test_health_is_open_and_reflection_takes_any_token(serving: Serving, token: Make) -> None:
    known = KnownTokens()
    made, metadata = token("mine", "push")
    known.replace([made])
    with grpc.insecure_channel(serving(admission=TokenAdmission(known)).address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflect(iter([asked]), metadata=metadata)
        assert answer.list_services_response.service
        assert code_of(lambda: list(reflect(iter([asked])))) is grpc.StatusCode.UNAUTHENTICATED
        unknown = channel.unary_unary(f"{SERVICE}NoSuchMethod")
        assert code_of(lambda: unknown(b"")) is grpc.StatusCode.UNIMPLEMENTED


def test_a_limited_token_reads_its_services_alone(serving: Serving, token: Make) -> None:
    known = KnownTokens()
    made, metadata = token("mine", "read", services=("some",))
    known.replace([made])
    served = serving(admission=TokenAdmission(known))
    with grpc.insecure_channel(served.address) as channel:
        look = channel.unary_unary(f"{SERVICE}GetOnlineFeatures")
        ask = channel.unary_unary(f"{SERVICE}GetServiceSchema")
        for service, expected in (
            ("some", grpc.StatusCode.OK),
            ("some@1", grpc.StatusCode.OK),
            ("some@9", grpc.StatusCode.NOT_FOUND),
            ("whole", grpc.StatusCode.PERMISSION_DENIED),
            ("whole@1", grpc.StatusCode.PERMISSION_DENIED),
            ("nothing", grpc.StatusCode.PERMISSION_DENIED),  # whether there is one is not for him to know
            ("", grpc.StatusCode.PERMISSION_DENIED),
        ):
            looked = lookup(service).SerializeToString()
            asked = pb.GetServiceSchemaRequest(service=service).SerializeToString()
            assert code_of(lambda looked=looked: look(looked, metadata=metadata)) is expected, service
            assert code_of(lambda asked=asked: ask(asked, metadata=metadata)) is expected, service
        for call in (look, ask):
            assert code_of(lambda call=call: call(b"\xff", metadata=metadata)) is grpc.StatusCode.INVALID_ARGUMENT
        # The last of two names is the one that counts, here as in the lookup.
        two = lookup("some").SerializeToString() + lookup("whole").SerializeToString()
        assert code_of(lambda: look(two, metadata=metadata)) is grpc.StatusCode.PERMISSION_DENIED
    assert served.settle() == 0


def test_a_stream_answers_what_its_token_may_read_and_goes_on(serving: Serving, token: Make) -> None:
    known = KnownTokens()
    made, metadata = token("mine", "read", services=("some",))
    known.replace([made])
    with grpc.insecure_channel(serving(admission=TokenAdmission(known)).address) as channel:
        requests = [
            pb.StreamOnlineFeaturesRequest(correlation_id=number, request=lookup(service)).SerializeToString()
            for number, service in ((1, "some"), (2, "whole"), (3, "some@1"))
        ]
        answers = [
            pb.StreamOnlineFeaturesResponse.FromString(one)
            for one in channel.stream_stream(STREAM)(iter(requests), metadata=metadata)
        ]
    assert [(one.correlation_id, one.WhichOneof("answer")) for one in answers] == [
        (1, "response"),
        (2, "error"),
        (3, "response"),
    ]
    assert answers[1].error.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert 'not for feature service "whole"' in answers[1].error.message


def test_a_stream_ends_with_its_next_request_once_its_token_is_revoked(serving: Serving, token: Make) -> None:
    known = KnownTokens()
    made, metadata = token("mine", "read")
    known.replace([made])
    served = serving(admission=TokenAdmission(known))
    waiting: queue.Queue[bytes] = queue.Queue()
    asked = pb.StreamOnlineFeaturesRequest(correlation_id=1, request=lookup()).SerializeToString()
    with grpc.insecure_channel(served.address) as channel:
        stream = channel.stream_stream(STREAM)(iter(waiting.get, b""), metadata=metadata)
        waiting.put(asked)
        assert pb.StreamOnlineFeaturesResponse.FromString(next(stream)).WhichOneof("answer") == "response"
        known.replace([replace(made, revoked_at=datetime.now(UTC))])
        waiting.put(asked)
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        waiting.put(b"")
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert 'Token "mine" was revoked on' in ended.value.details()
    assert served.watcher.codes == [("StreamOnlineFeatures", "UNAUTHENTICATED")]
    assert served.settle() == 0


def test_a_limited_token_pushes_to_its_views_alone_and_what_answers_knows_who_calls(
    serving: Serving, token: Make
) -> None:
    known = KnownTokens()
    made, metadata = token("etl", "push", "log", views=("weather",))
    known.replace([made])
    with grpc.insecure_channel(serving(methods=METHODS, admission=TokenAdmission(known)).address) as channel:
        push = channel.unary_unary(f"{SERVICE}PushFeatures")
        fine, other = (pb.PushFeaturesRequest(view=name).SerializeToString() for name in ("weather", "plane"))
        assert push(fine, metadata=metadata) == b"etl"
        with pytest.raises(grpc.RpcError) as refused:
            push(other, metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert 'not for feature view "plane"' in refused.value.details()
        assert channel.unary_unary(f"{SERVICE}LogOutcomes")(b"", metadata=metadata) == b"etl"
    with grpc.insecure_channel(serving(methods=METHODS).address) as channel:
        assert channel.unary_unary(f"{SERVICE}PushFeatures")(fine) == b""
