"""A clean Debian 12 in a folder. What is run in it has this machine's network, and its own everything else."""

import os
import subprocess
from pathlib import Path

from harness.paths import clean_environment

# In a mount namespace of the command's own, so that nothing stays mounted.
ENTER = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def can_make_roots() -> bool:
    if os.getuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


class DebianRoot:
    def __init__(self, folder: Path, *packages: str):
        self.folder = folder
        # Runs the command that follows in the root, as the same process.
        self.enter = ("unshare", "--mount", "sh", "-c", ENTER, str(folder))
        made = subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", "bookworm", str(folder)],
            capture_output=True, text=True,
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

    def files(self) -> set[str]:
        """All but what apt and dpkg keep for themselves, and logs."""
        own = ("var/lib/apt/", "var/lib/dpkg/", "var/cache/", "var/log/", "proc/", "dev/")
        found = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        return {path for path in found if not f"{path}/".startswith(own)}
