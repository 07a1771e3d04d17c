"""The generated API, made from proto/ when this module is imported, and thin helpers over it."""

import atexit
import shutil
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc_tools
import numpy as np
from grpc_tools import protoc

from .paths import ROOT
from .waiting import PATIENCE


def _generate() -> None:
    """Makes the package `denoise` importable, from a folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="denoise-stubs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT / 'proto'}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "denoise/v1/diffusion.proto",
        ]
    )
    if status != 0:
        raise RuntimeError("protoc failed on denoise/v1/diffusion.proto")
    package = sys.modules["denoise"] = types.ModuleType("denoise")
    package.__path__ = [f"{folder}/denoise"]


_generate()
from denoise.v1 import diffusion_pb2 as pb  # noqa: E402
from denoise.v1 import diffusion_pb2_grpc as pb_grpc  # noqa: E402, F401

SAMPLE = "/denoise.v1.Diffusion/Sample"
DIFFUSE = "/denoise.v1.Diffusion/Diffuse"

# Seconds that any one call may take before that is a failure.
CALL_TIMEOUT = 60 * PATIENCE


def connect(address: str, **options) -> grpc.Channel:
    """A channel with a connection of its own. `options`: gRPC channel arguments, '_' for '.'."""
    arguments = {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        **options,
    }
    return grpc.insecure_channel(address, options=list(arguments.items()))


def tensor(values) -> pb.Tensor:
    """A Tensor message of float32 (or int64, or bool) values."""
    array = np.ascontiguousarray(values)
    if array.dtype == np.int64:
        dtype = pb.DATA_TYPE_INT64
    elif array.dtype == np.bool_:
        dtype = pb.DATA_TYPE_BOOL
    else:
        dtype, array = pb.DATA_TYPE_FLOAT32, array.astype("<f4")
    return pb.Tensor(dtype=dtype, shape=array.shape, data=array.tobytes())


def array(message: pb.Tensor) -> np.ndarray:
    """The values of a float32 Tensor."""
    assert message.dtype == pb.DATA_TYPE_FLOAT32, message.dtype
    return np.frombuffer(message.data, dtype="<f4").reshape(tuple(message.shape))


@dataclass
class Outcome:
    """What one streaming call answered, in order."""

    accepted: pb.Accepted | None = None
    states: list[pb.State] = field(default_factory=list)
    result: pb.Result | None = None
    terms: list[pb.Term] = field(default_factory=list)
    likelihood: pb.Likelihood | None = None
    kinds: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, stream) -> "Outcome":
        outcome = cls()
        for event in stream:
            outcome.add(event)
        return outcome

    def add(self, event) -> None:
        kind = event.WhichOneof("event")
        self.kinds.append(kind)
        if kind == "state":
            self.states.append(event.state)
        elif kind == "term":
            self.terms.append(event.term)
        else:
            assert getattr(self, kind) is None, f"a second {kind}"
            setattr(self, kind, getattr(event, kind))

    @property
    def samples(self) -> np.ndarray:
        """[n, C, H, W]"""
        return array(self.result.samples)

    def states_of(self, sample: int = 0, content: int = pb.CONTENT_X_T) -> dict[int, np.ndarray]:
        """Step to [C, H, W], of one sample and content."""
        return {
            state.step: array(state.tensor)[0]
            for state in self.states
            if state.sample_index == sample and state.content == content
        }


def sample(stub, timeout: float = CALL_TIMEOUT, metadata=None, **fields) -> Outcome:
    """Runs Sample to its end. `fields` are those of SampleRequest."""
    return Outcome.of(stub.Sample(pb.SampleRequest(**fields), timeout=timeout, metadata=metadata))


def diffuse(stub, timeout: float = CALL_TIMEOUT, **fields) -> Outcome:
    """Runs Diffuse to its end. `fields` are those of DiffuseRequest."""
    return Outcome.of(stub.Diffuse(pb.DiffuseRequest(**fields), timeout=timeout))


def evaluate(stub, timeout: float = CALL_TIMEOUT, **fields) -> Outcome:
    """Runs Evaluate to its end. `fields` are those of EvaluateRequest."""
    return Outcome.of(stub.Evaluate(pb.EvaluateRequest(**fields), timeout=timeout))


def next_of(stream, kind: str):
    """The next event of that kind, those before it left out."""
    for event in stream:
        if event.WhichOneof("event") == kind:
            return getattr(event, kind)
    raise AssertionError(f"the stream ended without {kind}")
