"""What servers and proxies say when a call fails, as errors."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from support import Front

import mintage
from mintage import Reason


def _status(code: grpc.StatusCode, *parts: Any) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message="a sentence of the service")
    for part in parts:
        packed = Packed()
        packed.Pack(part)
        status.details.append(packed)
    return status


def _fail(make_client: Any, code: grpc.StatusCode, trailer: bytes | None) -> mintage.Error:
    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        if trailer is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", trailer),))
        context.abort(code, "a sentence of the service")
        raise AssertionError

    with Front(answer=answer) as front, pytest.raises(mintage.Error) as failed:
        make_client(front.address).mint_for_user("42")
    assert isinstance(failed.value.__cause__, grpc.RpcError)
    return failed.value


def test_a_refusal_has_all_that_the_service_told(make_client: Any) -> None:
    violation = details.BadRequest.FieldViolation(field="user.user_id", description="x")
    status = _status(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        details.BadRequest(field_violations=[violation]),
        details.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)),
        details.ErrorInfo(reason="RATE_LIMITED", domain="mintage.v1"),
    )
    error = _fail(make_client, grpc.StatusCode.RESOURCE_EXHAUSTED, status.SerializeToString())
    assert type(error) is mintage.Refused
    assert error.message == "a sentence of the service"
    assert (error.reason, error.retry_after, error.field) == (
        Reason.RATE_LIMITED,
        2.5,
        "user.user_id",
    )


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.INTERNAL])
def test_what_keeps_the_service_from_an_answer_is_no_refusal(
    make_client: Any, reason: Reason
) -> None:
    code = grpc.StatusCode[reason.value]
    info = details.ErrorInfo(reason=reason.value, domain="mintage.v1")
    error = _fail(make_client, code, _status(code, info).SerializeToString())
    assert type(error) is mintage.Unavailable
    assert error.reason is reason and error.message == "a sentence of the service"


@pytest.mark.parametrize(
    "code, kind",
    [
        (grpc.StatusCode.PERMISSION_DENIED, mintage.Refused),
        (grpc.StatusCode.ALREADY_EXISTS, mintage.Refused),
        (grpc.StatusCode.ABORTED, mintage.Unavailable),
    ],
)
def test_a_reason_from_the_future_goes_by_its_code(
    make_client: Any, code: grpc.StatusCode, kind: type[mintage.Error]
) -> None:
    info = details.ErrorInfo(reason="TOKEN_OF_THE_FUTURE", domain="mintage.v1")
    error = _fail(make_client, code, _status(code, info).SerializeToString())
    assert type(error) is kind and error.reason is Reason.UNSPECIFIED
    assert error.message == "a sentence of the service"


def test_a_refusal_of_somebody_else_is_not_taken_for_the_services(make_client: Any) -> None:
    code = grpc.StatusCode.PERMISSION_DENIED
    info = details.ErrorInfo(reason="RATE_LIMITED", domain="mesh.example")
    error = _fail(make_client, code, _status(code, info).SerializeToString())
    assert type(error) is mintage.Refused and error.reason is Reason.CALLER_FORBIDDEN
    assert "a sentence" not in error.message


@pytest.mark.parametrize("trailer", [None, b"", b"\xff\xff\xff", b"not one"])
@pytest.mark.parametrize(
    "code, kind, reason",
    [
        (grpc.StatusCode.INVALID_ARGUMENT, mintage.Refused, Reason.REQUEST_INVALID),
        (grpc.StatusCode.UNAUTHENTICATED, mintage.Refused, Reason.CALLER_UNKNOWN),
        (grpc.StatusCode.NOT_FOUND, mintage.Refused, Reason.UNSPECIFIED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, mintage.Unavailable, Reason.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, mintage.Unavailable, Reason.UNAVAILABLE),
        (grpc.StatusCode.CANCELLED, mintage.Unavailable, Reason.UNAVAILABLE),
        (grpc.StatusCode.INTERNAL, mintage.Unavailable, Reason.INTERNAL),
        (grpc.StatusCode.UNKNOWN, mintage.Unavailable, Reason.INTERNAL),
        (grpc.StatusCode.UNIMPLEMENTED, mintage.Unavailable, Reason.INTERNAL),
        (grpc.StatusCode.DATA_LOSS, mintage.Unavailable, Reason.INTERNAL),
    ],
)
def test_an_error_without_details_goes_by_its_code(
    make_client: Any,
    code: grpc.StatusCode,
    kind: type[mintage.Error],
    reason: Reason,
    trailer: bytes | None,
) -> None:
    error = _fail(make_client, code, trailer)
    assert type(error) is kind and error.reason is reason
    assert error.message and "a sentence" not in error.message


def test_details_that_are_damaged_are_passed_over(make_client: Any) -> None:
    status = _status(
        grpc.StatusCode.PERMISSION_DENIED,
        details.ErrorInfo(reason="CALLER_FORBIDDEN", domain="mintage.v1"),
    )
    for kind in (details.RetryInfo, details.BadRequest):
        url = f"type.googleapis.com/{kind.DESCRIPTOR.full_name}"
        status.details.insert(0, Packed(type_url=url, value=b"\xff"))
    code = grpc.StatusCode.PERMISSION_DENIED
    error = _fail(make_client, code, status.SerializeToString())
    assert (error.reason, error.retry_after) == (Reason.CALLER_FORBIDDEN, None)


def test_an_answer_that_is_none_is_unavailable(make_client: Any) -> None:
    with Front(answer=lambda request, context: b"\xff\xff") as front:
        with pytest.raises(mintage.Unavailable) as failed:
            make_client(front.address).mint_for_user("42")
    assert failed.value.reason is Reason.INTERNAL
