"""The real server as a process."""

import os
import re
import signal
import subprocess
from pathlib import Path

import grpc

from .api import connect, pb_grpc
from .metrics import Metrics
from .paths import DENOISED, clean_environment
from .waiting import PATIENCE, eventually

READY = re.compile(r"denoised: ready grpc=(?P<grpc>\S+) metrics=(?P<metrics>\S+) model=(?P<models>.+)")
# For tests to which engines and speed do not matter. More threads wait for each other, and where others use the cores
# too that takes ten times as long.
ONE_ENGINE = ("--devices", "cpu:1", "--threads", "1")
# What a process says that did not end as it should.
DISASTER = re.compile(
    r"Sanitizer|runtime error:|terminate called|Assertion|assertion|CHECK fail|core dumped|Segmentation"
)


class Process:
    """`denoised`, started; not necessarily ready, nor ever going to be."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),  # of the command line: a program that becomes `denoised`
        program: Path = DENOISED,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self._stdout = folder / "stdout"
        self._stderr = folder / "stderr"
        with open(self._stdout, "wb") as out, open(self._stderr, "wb") as err:
            self.popen = subprocess.Popen(
                [*prefix, str(program), *flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=clean_environment() | (environment or {}),
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self, within: float = 20) -> int:
        """The exit status."""
        try:
            status = self.popen.wait(within * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"denoised did not exit within {within} s\n{self.stderr}") from None
        assert not DISASTER.search(self.stderr), self.stderr
        return status

    def kill(self) -> None:
        if self.running:
            self.popen.kill()
            self.popen.wait()

    def _status(self, key: str) -> str:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return line.split(":", 1)[1].strip()
        raise AssertionError(f"no {key} in /proc/{self.pid}/status")

    def rss_bytes(self) -> int:
        return int(self._status("VmRSS").split()[0]) * 1024

    def reset_peak(self) -> None:
        """From now on peak_rss_bytes() counts anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_rss_bytes(self) -> int:
        return int(self._status("VmHWM").split()[0]) * 1024

    def threads(self) -> int:
        return int(self._status("Threads"))

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def blocks_sigterm(self) -> bool:
        """Whether signals are waited for by now, rather than deadly."""
        return bool(int(self._status("SigBlk"), 16) >> (signal.SIGTERM - 1) & 1)


class Server(Process):
    """`denoised` on ports of its own, ready. Extra flags win over the ones given here."""

    def __init__(self, folder: Path, *flags: str, **options):
        """`options`: those of Process."""
        for flag in ("--listen", "--metrics-listen"):
            if flag not in flags:
                flags = (flag, "127.0.0.1:0", *flags)
        super().__init__(folder, *flags, **options)
        self._channels: list[grpc.Channel] = []
        try:
            ready = eventually(self._ready, within=40, what="the ready line")
        except BaseException:
            self.kill()
            raise
        self.address = ready["grpc"]
        self.metrics_address = ready["metrics"]
        self.models = ready["models"].split()
        self.channel = self.connect()
        self.stub = pb_grpc.DiffusionStub(self.channel)

    def _ready(self) -> re.Match | None:
        assert self.running, f"denoised ended with {self.popen.returncode}\n{self.stderr}"
        return READY.search(self.stdout)

    def connect(self, **options) -> grpc.Channel:
        """Another connection, closed with the server."""
        channel = connect(self.address, **options)
        self._channels.append(channel)
        return channel

    def new_stub(self, **options):
        """A stub with a connection of its own."""
        return pb_grpc.DiffusionStub(self.connect(**options))

    def metrics(self) -> Metrics:
        return Metrics.scrape(self.metrics_address)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics().total(name, **labels)

    def until(self, condition, within: float = 10, what: str = "") -> Metrics:
        """The first scrape for which `condition` holds."""

        def look():
            metrics = self.metrics()
            return metrics if condition(metrics) else None

        return eventually(look, within, what)

    def until_idle(self, within: float = 10) -> Metrics:
        """Waits until no chain runs and no request waits."""
        return self.until(
            lambda m: not any(map(m.total, ("chains_active", "chains_parked", "requests_waiting"))),
            within,
            "the server is idle",
        )

    def until_counted(self, count: int, before: Metrics | None = None, **labels: str) -> Metrics:
        """Waits until that many calls with those labels have ended since `before`. A call is counted
        when gRPC is done with it, which its caller may know a little earlier."""
        already = before.total("requests_total", **labels) if before else 0
        return self.until(
            lambda m: m.total("requests_total", **labels) - already == count,
            what=f"{count} calls with {labels} are counted",
        )

    def until_busy(self, chains: int = 1) -> Metrics:
        """Waits until that many chains run."""
        return self.until(lambda m: m.total("chains_active") >= chains, what=f"{chains} chains run")

    def stop(self, within: float = 20) -> None:
        """SIGTERM; the server must exit with 0, having nothing to complain about."""
        self.close()  # else it waits for its clients to go
        self.signal(signal.SIGTERM)
        status = self.wait(within)
        assert status == 0, f"exit status {status}\n{self.stderr}"

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        self._channels.clear()
