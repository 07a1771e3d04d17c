"""The google.rpc details of a failed call."""

from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "denoise.v1"


@dataclass
class Failure:
    """A call's status with its details unpacked; what was not there is None or empty."""

    code: grpc.StatusCode
    message: str
    violations: dict[str, str] = field(default_factory=dict)
    retry_seconds: float | None = None
    reason: str = ""
    domain: str = ""


def failure_of(error: grpc.RpcError) -> Failure:
    failure = Failure(error.code(), error.details() or "")
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        if packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            packed.Unpack(bad)
            failure.violations = {v.field: v.description for v in bad.field_violations}
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            packed.Unpack(retry)
            failure.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
        elif packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            packed.Unpack(info)
            failure.reason, failure.domain = info.reason, info.domain
    return failure


def failing(call, *arguments, **named) -> Failure:
    """How `call` fails, read to its end; an error when it does not."""
    try:
        answer = call(*arguments, **named)
        if hasattr(answer, "__iter__"):
            answer = list(answer)
    except grpc.RpcError as error:
        return failure_of(error)
    raise AssertionError(f"did not fail, but answered {str(answer)[:300]}")
