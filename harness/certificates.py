"""Certificates, made by openssl when a test asks for them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .paths import program


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path


def _openssl(*arguments) -> None:
    done = subprocess.run([program("openssl"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """A root certificate, and those that it signs."""

    def __init__(self, folder: Path, name: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        _openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            self._key,
            "-out",
            self.certificate,
            "-subj",
            f"/CN={name}",
            "-days",
            "30",
        )

    def issue(self, name: str, *alternatives: str, days: int = 30) -> Pair:
        """A certificate for server and client; `alternatives` as IP:127.0.0.1 or DNS:localhost. Less than no
        days: one that has expired."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        _openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            pair.key,
            "-out",
            request,
            "-subj",
            f"/CN={name}",
        )
        lines = ["extendedKeyUsage = serverAuth, clientAuth"]
        if alternatives:
            lines.append(f"subjectAltName = {', '.join(alternatives)}")
        extensions.write_text("\n".join(lines) + "\n")
        _openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.certificate,
            "-CAkey",
            self._key,
            "-CAcreateserial",
            "-out",
            pair.certificate,
            "-days",
            days,
            "-extfile",
            extensions,
        )
        return pair
