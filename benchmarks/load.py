"""What puts a load on the machine: `denoise bench` on a server, and bare LibTorch loops."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.api import pb
from harness.metrics import Metrics
from harness.paths import BIN, DENOISE, DIGITS, ROOT, clean_environment
from harness.server import Server

K, T = TypeVar("K"), TypeVar("T")
# Tests' servers do not tune and take in any backlog (clean_environment); these are as anybody's.
AS_SHIPPED = ("env", "-u", "DENOISED_TUNE_SECONDS", "-u", "DENOISED_MAX_BACKLOG")


@dataclass
class Rate:
    rows: float  # denoiser rows a second
    batch: float  # rows of a mean call
    client_cores: float = 0


def rows_a_second(rate: float) -> str:
    return f"{rate:.0f} rows/s"


class BareLoop:
    """benchmarks/bare_loop.cc: one denoiser call after another at one batch size."""

    def __init__(self, command: list):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def rate(self) -> float:
        """Rows a second over one slice."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


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


@dataclass
class Run:
    """One comparison: how long, how often, where, and the parameters that stand beside its table. What it has started
    ends with the block."""

    turns: int
    seconds: float  # of a slice
    flags: list[str]  # further flags of every server
    folder: Path
    parameters: list[str] = field(default_factory=list)
    _started: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error) -> None:
        self._started.__exit__(*error)

    def say(self, line: str) -> None:
        print("  " + line, flush=True)

    def note(self, parameter: str) -> None:
        """Once, however often it is used."""
        if parameter not in self.parameters:
            self.parameters.append(parameter)
            self.say(parameter)

    def in_turns(
        self, ways: dict[K, Callable[[], T]], tell: Callable[[T], str], turns: int | None = None
    ) -> dict[K, list[T]]:
        """What each way gives, turn by turn. Whatever runs meets the machine as the one before has left it, so every
        turn begins with another way."""
        names = list(ways)
        results: dict[K, list[T]] = {name: [] for name in names}
        for turn in range(turns or self.turns):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                results[name].append(ways[name]())
            self.say(f"turn {turn + 1}: " + ", ".join(f"{name} {tell(results[name][-1])}" for name in names))
        return results

    def server(self, name: str, *flags: str, model: Path = DIGITS) -> Server:
        """A server of a model, the bundled one, as it is shipped but for the flags given. What the first one tuned
        is kept for those whose flags leave as much open, so that they differ in nothing else."""
        folder = Path(tempfile.mkdtemp(prefix=name.replace(" ", "-") + "-", dir=self.folder))
        flags = (*flags, *self.flags)
        server = Server(
            folder, "--model", str(model), "--tune-cache", str(self.folder / "tuning.json"), *flags, prefix=AS_SHIPPED
        )
        self._started.push(lambda error, *_: server.stop() if server.running and not error else server.kill())
        model = server.model = server.stub.GetModel(pb.GetModelRequest())
        self.note(
            f"{name}: "
            + " ".join(("denoised", *(flags or ["without further flags"])))
            + f"; {model.replicas} x {model.threads} threads, {model.layout}, {model.precision}, {model.executor}, "
            f"batches of up to {model.batch_sizes[-1]}"
        )
        return server

    def compiled(self, precision: str) -> Path:
        """The bundled model's folder with a package of AOTInductor beside denoiser.pt."""
        folder = self.folder / precision / DIGITS.name
        if not folder.exists():
            self.say(f"compiling the bundled model for {precision}")
            shutil.copytree(DIGITS, folder, ignore=shutil.ignore_patterns("__pycache__"))
            export = ROOT / "models" / "export_aotinductor.py"
            subprocess.run([sys.executable, export, folder, "--precision", precision], check=True, capture_output=True)
        return folder

    def loop(self, layout: str, replicas: int, threads: int, batch: int, allocator: str = "glibc") -> BareLoop:
        """In float32. `allocator`: glibc, or jemalloc as the service has it."""
        program = {"glibc": "bare_loop", "jemalloc": "bare_loop_jemalloc"}[allocator]
        numbers = map(str, (replicas, threads, batch, self.seconds))
        loop = BareLoop([BIN / program, DIGITS, layout, "float32", *numbers])
        self._started.callback(loop.close)
        return loop

    def _note_load(self, flags: tuple[str, ...]) -> None:
        self.note("load: denoise bench --guidance 1 " + " ".join(flags))

    def bench(self, server: Server, *flags: str, seed: int) -> dict:
        """One `denoise bench` from begin to end; what it measured. `seed`: of the arrivals."""
        self._note_load(flags)
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
            "--seed",
            str(seed),
            *flags,
        ]
        done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"denoise bench ended with {done.returncode}: {done.stdout[-500:]} {done.stderr}")
        return json.loads(done.stdout)

    def load(self, server: Server, *flags: str) -> Load:
        self._note_load(flags)
        return Load(server, *flags)

    def rate(self, server: Server, *flags: str, settle: float = 1.5) -> Rate:
        """Of a window of that load."""
        with self.load(server, *flags) as load:
            before, after, took = load.window(self.seconds, settle)
        rows = after.total("rows_total") - before.total("rows_total")
        calls = after.total("batch_rows_count") - before.total("batch_rows_count")
        if load.result["errors"]:
            raise RuntimeError(f"requests failed: {load.result['errors']}")
        return Rate(rows / took, rows / calls, load.result["client_cores"])
