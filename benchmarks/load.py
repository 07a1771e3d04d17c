"""What puts a load on the machine: `denoise bench` on a server, and bare LibTorch loops."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.api import pb
from harness.metrics import Metrics
from harness.paths import BIN, DENOISE, DIGITS, ROOT, clean_environment
from harness.server import Server

__all__ = ["BareLoop", "Load", "Rate", "Run", "Server", "bench", "pb"]


@dataclass
class Run:
    """How long, how often, and where."""

    turns: int
    seconds: float  # of a slice
    flags: list[str]  # further flags of every server
    folder: Path
    tune_seconds: float = 20

    def server(self, name: str, *flags: str, model: Path = DIGITS) -> Server:
        """A server of a model, the bundled one, which says how it calls the denoiser."""
        folder = Path(tempfile.mkdtemp(prefix=name.replace(" ", "-") + "-", dir=self.folder))
        server = Server(folder, "--model", str(model), *flags, *self.flags)
        model = server.model = server.stub.GetModel(pb.GetModelRequest())
        self.say(
            f"{name}: {model.replicas} x {model.threads} threads, {model.layout}, {model.precision}, {model.executor}, "
            f"batches of up to {model.batch_sizes[-1]}"
        )
        return server

    def tuned(self, name: str, *flags: str, model: Path = DIGITS) -> Server:
        """The same, having tuned; what it found is kept for this run's other servers with these flags."""
        cache = self.folder / "tuning.json"
        return self.server(
            name, "--tune-seconds", str(self.tune_seconds), "--tune-cache", str(cache), *flags, model=model
        )

    def compiled(self, precision: str) -> Path:
        """The bundled model's folder with a package of AOTInductor beside denoiser.pt."""
        folder = self.folder / precision / DIGITS.name
        if not folder.exists():
            self.say(f"compiling the bundled model for {precision}")
            shutil.copytree(DIGITS, folder, ignore=shutil.ignore_patterns("__pycache__"))
            subprocess.run(
                [sys.executable, ROOT / "models" / "export_aotinductor.py", folder, "--precision", precision],
                check=True,
                capture_output=True,
            )
        return folder

    def say(self, line: str) -> None:
        print("  " + line, flush=True)


@dataclass
class Rate:
    rows: float  # denoiser rows a second
    batch: float  # rows of a mean call
    client_cores: float


def bench(server: Server, *flags: str) -> dict:
    """One `denoise bench` from begin to end; what it measured."""
    command = [
        DENOISE,
        "bench",
        "--address",
        server.address,
        "--json",
        "--quiet",
        "--guidance",
        "1",
        "--class",
        "7",
        *flags,
    ]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"denoise bench ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-2000:]}")
    return json.loads(done.stdout)


class Load:
    """`denoise bench` on a server while the block runs."""

    def __init__(self, server: Server, *flags: str):
        self._server = server
        self._command = [
            DENOISE,
            "bench",
            "--address",
            server.address,
            "--json",
            "--quiet",
            "--duration",
            "inf",
            "--warm-up",
            "0s",
            "--guidance",
            "1",
            "--class",
            "0,1,2,3,4,5,6,7,8,9",
            *flags,
        ]
        self.result: dict = {}

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(
            self._command,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_) -> None:
        self._process.send_signal(signal.SIGINT)
        out, error = self._process.communicate(timeout=60)
        if not out:
            raise RuntimeError(f"denoise bench ended with {self._process.returncode}: {error[-2000:]}")
        self.result = json.loads(out)
        self._server.until_idle(within=30)

    def window(self, seconds: float, settle: float = 1.5) -> tuple[Metrics, Metrics, float]:
        """The server's metrics at both ends of a window, when the load is there, and its length."""
        time.sleep(settle)
        before, begin = self._server.metrics(), time.monotonic()
        time.sleep(seconds)
        after, end = self._server.metrics(), time.monotonic()
        if self._process.poll() is not None:
            raise RuntimeError("the load ended by itself: " + self._process.communicate()[1][-2000:])
        return before, after, end - begin


def rate(server: Server, seconds: float, *flags: str, settle: float = 1.5) -> Rate:
    with Load(server, *flags) as load:
        before, after, took = load.window(seconds, settle)
    rows = after.total("rows_total") - before.total("rows_total")
    calls = after.total("batch_rows_count") - before.total("batch_rows_count")
    if load.result["errors"]:
        raise RuntimeError(f"requests failed: {load.result['errors']}")
    return Rate(rows / took, rows / calls, load.result["client_cores"])


class BareLoop:
    """benchmarks/bare_loop.cc: one denoiser call after another at one batch size; `program` says by whose
    allocator: `bare_loop` glibc's, `same_loop` the service's."""

    def __init__(
        self,
        seconds: float,
        layout: str,
        replicas: int,
        threads: int,
        batch: int,
        precision: str = "float32",
        program: str = "bare_loop",
    ):
        self._process = subprocess.Popen(
            [BIN / program, DIGITS, layout, precision, str(replicas), str(threads), str(batch), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self) -> float:
        """Rows a second over one slice."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
