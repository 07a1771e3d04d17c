"""A clean Debian 12 in a folder. What is run in it has this machine's network, and its own everything else."""

import os
import subprocess
from pathlib import Path

from harness.paths import clean_environment

MAKE = ("mmdebstrap", "--quiet", "--variant=minbase", "--skip=cleanup/apt/lists")
# In a mount namespace of the command's own, so that nothing stays mounted.
ENTER = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
# By systemd as the first process of a container, of which this machine's systemd, if it has one, knows nothing.
BOOT = """
mount -t tmpfs tmpfs /run
exec systemd-nspawn --quiet --register=no --keep-unit --private-network "$@" --boot systemd.unit=script.service
"""
SCRIPT_UNIT = """
[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/sh -ex /script
StandardOutput=file:/said
StandardError=inherit
"""
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C",
}


def can_make_roots() -> bool:
    if os.getuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


class DebianRoot:
    def __init__(self, folder: Path, *packages: str):
        self.folder = folder
        # Runs the command that follows in the root, as the same process.
        self.enter = ("unshare", "--mount", "sh", "-c", ENTER, str(folder))
        made = subprocess.run(
            [*MAKE, f"--include={','.join(packages)}", "bookworm", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    def start(self, *command: str, **options) -> subprocess.Popen:
        return subprocess.Popen([*self.enter, *command], env=clean_environment() | ENVIRONMENT, text=True, **options)

    def run(self, *command: str) -> str:
        """What it said on stdout; it must exit with 0."""
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, complaint = process.communicate()
        assert process.returncode == 0, f"{' '.join(command)}\n{said}\n{complaint}"
        return said

    def boot(self, script: str) -> str:
        """What a shell script said that systemd ran, with a network of its own. It must succeed."""
        own = {"script": script + "\necho done\n", "etc/systemd/system/script.service": SCRIPT_UNIT, "said": ""}
        for name, text in own.items():
            (self.folder / name).write_text(text)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", BOOT, "sh", "--directory", str(self.folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = (self.folder / "said").read_text()
        for name in own:
            (self.folder / name).unlink()
        assert said.endswith("\ndone\n"), f"{said}\n{done.stdout}\n{done.stderr}"
        return said

    def files(self) -> set[str]:
        """All but what apt and dpkg keep for themselves, and logs."""
        own = ("var/lib/apt/", "var/lib/dpkg/", "var/cache/", "var/log/", "proc/", "dev/")
        found = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        return {path for path in found if not f"{path}/".startswith(own)}
