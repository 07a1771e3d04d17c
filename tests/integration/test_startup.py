"""Starting: what is refused, in one line, and what is not."""

import hashlib
import json
import re
import socket
import subprocess

import pytest
import torch

from harness.api import pb, sample
from harness.models import GaussianDenoiser, TimelessDenoiser, copy_model, write_model
from harness.paths import DENOISED, DIGITS, clean_environment
from harness.server import ONE_ENGINE

ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")


def refusal(process) -> str:
    """The one line that a server says that does not start."""
    status = process.wait(within=30)
    assert status not in (0, None) and status > 0, f"exit status {status}\n{process.stderr}"
    assert "ready" not in process.stdout
    lines = [line for line in process.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("denoised: "), lines[0]
    assert len(lines[0]) < 600, lines[0]
    return lines[0]


@pytest.fixture
def refused(start_process):
    """refused(*flags): the refusal of a server with these flags."""

    def start(*flags: str) -> str:
        return refusal(start_process("--log-level", "warn", *flags))

    return start


# --- Flags and ports.


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--frobnicate",), "--frobnicate"),
        (("--max-waiting", "many"), "--max-waiting"),
        (("--max-waiting", "0"), "--max-waiting"),
        (("--policy", "lifo"), "--policy"),
        (("--max-wait", "soon"), "--max-wait"),
        (("--max-waiting-per-tenant", "-1"), "--max-waiting-per-tenant"),
        (("--batching", "sometimes"), "sometimes"),
        (("--devices", "tpu"), "tpu"),
        (("--devices", "cuda"), "cuda:0"),
        (("--devices", "cpu,cuda:0"), "has cpu beside other devices"),
        (("--devices", "cuda:0,cuda:0"), "cuda:0 twice"),
        (("--write-timeout", "soon"), "soon"),
        (("--listen", "nowhere"), "nowhere"),
        (("--listen", "127.0.0.1:99999"), "99999"),
        (("--layout", "diagonal"), "diagonal"),
        (("--config", "/nowhere.toml"), "/nowhere.toml"),
    ],
)
def test_bad_flags(refused, flags, said):
    line = refused("--model", str(DIGITS), *flags)
    assert said in line
    assert "denoised --help" in line


@pytest.mark.parametrize("how", [("--model",), ("--examine",)])
def test_a_device_that_is_not_there(refused, how):
    line = refused(*how, str(DIGITS), "--devices", "cuda:99", *ANYWHERE)
    assert "--devices: cuda:99: " in line
    # By whatever LibTorch and driver are here.
    assert re.search("is built without cuda|no such device can be used|there (is|are) .*cuda:0", line), line
    assert "/" not in line.replace("docs/cuda.md", ""), "no path, no address"


def test_all_devices_are_the_cpu_where_there_are_no_others(start_server):
    if torch.cuda.is_available():
        pytest.skip("there are others")
    server = start_server("--devices", "all", "--batch-sizes", "1,2,4")
    assert sample(server.stub, sampler=dict(steps=2)).result


def test_no_model(refused):
    assert "--model" in refused(*ANYWHERE)


def test_bad_environment(start_process):
    process = start_process(
        "--model", str(DIGITS), "--log-level", "warn", environment={"DENOISED_MAX_WAITING": "a lot"}
    )
    line = refusal(process)
    assert "a lot" in line


@pytest.mark.parametrize("flag", ["--listen", "--metrics-listen"])
def test_a_port_in_use(refused, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = dict(zip(ANYWHERE[::2], ANYWHERE[1::2], strict=True)) | {flag: address}
        line = refused("--model", str(DIGITS), *(word for pair in flags.items() for word in pair))
    assert address in line
    assert flag in line, "says which flag to change"


# --- Models.


def model_with(folder, **changes):
    """None takes a key out."""
    path = folder / "model.json"
    described = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in described.items() if v is not None}))


def truncate(folder):
    path = folder / "denoiser.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    model_with(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


# What is wrong with a file by itself is for tests/unit/model/folder; here is what a server says.
DAMAGE = {
    "no model.json": (lambda f: (f / "model.json").unlink(), ["model.json"]),
    "truncated, hash made to fit": (truncate, ["denoiser.pt"]),
    "wrong sha256": (lambda f: model_with(f, sha256="0" * 64), ["denoiser.pt", "sha256", "0" * 64]),
    "bad scheduler_config.json": (
        lambda f: (f / "scheduler_config.json").write_text("[1, 2"),
        ["scheduler_config.json", "JSON"],
    ),
    "another shape": (lambda f: model_with(f, sample_shape=[2, 28, 28]), ["denoiser.pt"]),
    "classes that the module does not take": (
        lambda f: model_with(f, num_classes=0, null_class=None, default_guidance_scale=1),
        ["denoiser.pt"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_model(refused, tmp_path, damage):
    folder = copy_model(DIGITS, tmp_path / "broken")
    break_it, said = DAMAGE[damage]
    break_it(folder)
    line = refused("--model", str(folder), *ANYWHERE)
    for words in [*said, str(folder)]:
        assert words in line, line


def test_a_folder_that_is_not_there(refused, tmp_path):
    line = refused("--model", str(tmp_path / "nowhere"), *ANYWHERE)
    assert str(tmp_path / "nowhere") in line


def test_a_model_that_ignores_t(refused, tmp_path):
    folder = write_model(tmp_path / "timeless", TimelessDenoiser())
    line = refused("--model", str(folder), *ANYWHERE)
    assert "t is ignored" in line
    assert "trace with a tensor of shape [N]" in line


# --- denoised --examine.


def examine(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [DENOISED, "--log-level", "warn", "--examine", *flags],
        capture_output=True,
        text=True,
        timeout=80,
        env=clean_environment(),
        check=False,
    )


def test_the_report_on_a_model():
    done = examine(str(DIGITS), "--max-batch-rows", "4", *ONE_ENGINE)
    assert done.returncode == 0 and not done.stderr
    report = done.stdout
    for words in (
        "digits, version 1",
        "1 x 28 x 28",
        "class_labels: int64 [N], 0 to 9, none: 10",
        "DDPMScheduler, 1000 steps, epsilon",
        "ddim, 50 steps, guidance 2",
    ):
        assert words in report, report
    for test in ("weights", "type of t", "equal calls", "rows of a batch", "t", "y", "answer"):
        assert re.search(rf"^  {test}  +\S", report, re.MULTILINE), test
    sizes = re.findall(r"^ +(\d+) +[\d.]+ +(\d+) +yes +[A-Z]$", report, re.MULTILINE)
    assert [int(rows) for rows, _ in sizes] == [1, 2, 3, 4], report
    assert all(int(rate) > 0 for _, rate in sizes)


def test_the_report_on_a_model_that_is_refused(tmp_path):
    done = examine(str(write_model(tmp_path / "timeless", TimelessDenoiser())))
    assert done.returncode == 65
    assert re.search(r"^  rows of a batch  +independent", done.stdout, re.MULTILINE), "what went well"
    assert "t is ignored" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_report_on_no_model(tmp_path):
    done = examine(str(tmp_path / "nowhere"))
    assert done.returncode == 65 and not done.stdout
    assert str(tmp_path / "nowhere") in done.stderr


def test_batch_invariance_is_refused_where_there_is_none(refused, tmp_path):
    class Positioned(torch.nn.Module):
        """Differs in the last bits by the position in the batch."""

        def __init__(self):
            super().__init__()
            self.inner = GaussianDenoiser()

        def forward(self, x, t):
            return self.inner(x, t) * (1 + 2e-7 * torch.arange(x.size(0)).view(-1, 1, 1, 1))

    folder = write_model(tmp_path / "positioned", Positioned())
    line = refused("--model", str(folder), "--batch-invariant", "--batch-sizes", "4,8", *ANYWHERE)
    assert "--batch-invariant: at none of the batch sizes 4, 8" in line


# --- What does start.


def test_the_ready_line_says_the_ports_and_the_model(server):
    host, port = server.address.rsplit(":", 1)
    assert host == "127.0.0.1" and int(port) > 0
    assert server.metrics_address != server.address
    assert server.models == ["digits"]
    assert len(server.stdout.splitlines()) == 1, "stdout is for the ready line alone"


def test_flags_from_the_environment_and_from_a_file(start_server, tmp_path):
    config = tmp_path / "denoised.toml"
    config.write_text("max-samples = 3\nmax-waiting = 7\n")
    server = start_server(
        "--config",
        str(config),
        model=None,
        environment={"DENOISED_MODEL": str(DIGITS), "DENOISED_DEVICES": "cpu:1", "DENOISED_THREADS": "1"},
    )
    assert server.stub.GetModel(pb.GetModelRequest()).replicas == 1
    assert sample(server.stub, num_samples=3, sampler=dict(steps=2)).result
    with pytest.raises(Exception, match="num_samples"):
        sample(server.stub, num_samples=4, sampler=dict(steps=2))


def test_replicas_and_threads(start_server):
    server = start_server("--devices", "cpu:3", "--threads", "1")
    model = server.stub.GetModel(pb.GetModelRequest())
    assert (model.replicas, model.threads) == (3, 1)


def test_help_groups_the_flags():
    shown = subprocess.run(
        [DENOISED, "--help"], capture_output=True, text=True, timeout=10, env=clean_environment(), check=False
    )
    assert shown.returncode == 0 and not shown.stderr
    for flag in (
        "--model",
        "--listen",
        "--batching",
        "--policy",
        "--max-wait",
        "--max-waiting",
        "--max-waiting-per-tenant",
        "--drain-grace",
    ):
        assert flag in shown.stdout
    assert re.search(r"^Limits", shown.stdout, re.MULTILINE | re.IGNORECASE)


def test_probe(server):
    def probe(address: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [DENOISED, "--probe", "--listen", address],
            capture_output=True,
            text=True,
            timeout=20,
            env=clean_environment(),
            check=False,
        )

    assert probe(server.address).returncode == 0
    # What a container listens on is not what it can be reached at.
    assert probe(server.address.replace("127.0.0.1", "0.0.0.0")).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
    failed = probe(nobody)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) <= 1
