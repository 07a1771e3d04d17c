"""Hosts that are network namespaces, joined by a bridge: each has an address, and a cable that can be cut."""

import os
import subprocess


class NotPermitted(Exception):
    """This machine or container does not let us make namespaces."""


def ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        raise NotPermitted("there is no program 'ip' (Debian's iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NotPermitted(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from None


class Host:
    def __init__(self, network: "Network", number: int):
        self.namespace = f"{network.name}h{number}"
        self.address = f"{network.prefix}.{number + 1}"
        # Runs the command that follows in the namespace, as the same process.
        self.enter = ("ip", "netns", "exec", self.namespace)
        self._cable = f"{network.name}c{number}"
        network.undo.append(("netns", "del", self.namespace))
        ip("netns", "add", self.namespace)
        network.undo.append(("link", "del", self._cable))
        ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", self._cable, "master", network.name, "up")
        for command in (
            ("address", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", self.namespace, *command)

    def cut_off(self) -> None:
        """From now on packets are dropped silently."""
        ip("link", "set", self._cable, "down")


class Network:
    """Within `with`: `hosts`, which this process reaches by their addresses. Nothing of it is left behind,
    also where it could not be made, which is NotPermitted."""

    def __init__(self, hosts: int):
        self.name = f"dn{os.getpid()}"  # of an interface: at most 15 characters
        # Of the range that is set aside for benchmarks of networks (RFC 2544), so it is nobody's.
        self.prefix = f"198.18.{os.getpid() % 256}"
        self.undo: list[tuple[str, ...]] = []
        self._count = hosts

    def __enter__(self) -> "Network":
        try:
            self.undo.append(("link", "del", self.name))
            ip("link", "add", self.name, "type", "bridge")
            ip("address", "add", f"{self.prefix}.254/24", "dev", self.name)
            ip("link", "set", self.name, "up")
            self.hosts = [Host(self, number) for number in range(self._count)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for command in reversed(self.undo):
            subprocess.run(["ip", *command], check=False, capture_output=True, timeout=30)
        self.undo.clear()
