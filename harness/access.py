"""Who may call: token files, and channels over TLS."""

import hashlib
import json
import os
from pathlib import Path

import grpc

from .certificates import Pair


def tls_flags(pair: Pair) -> tuple[str, ...]:
    return "--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)


def secure_channel(address: str, ca=None, pair: Pair | None = None, **options) -> grpc.Channel:
    credentials = grpc.ssl_channel_credentials(
        ca.certificate.read_bytes() if ca else None,
        pair.key.read_bytes() if pair else None,
        pair.certificate.read_bytes() if pair else None,
    )
    arguments = {"grpc.use_local_subchannel_pool": 1, **options}
    return grpc.secure_channel(address, credentials, list(arguments.items()))


def entry(name: str, token: str = "", **keys) -> dict:
    """A principal; `keys` as in the file."""
    hashed = {"sha256": hashlib.sha256(token.encode()).hexdigest()} if token else {}
    return {"name": name, **hashed, **keys}


def write_tokens(path: Path, *entries: dict) -> Path:
    """A token file, put in place as a whole."""
    new = path.with_suffix(".new")
    new.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n")
    os.replace(new, path)
    return path


def bearer(token: str, **more: str) -> list[tuple[str, str]]:
    """A call's metadata; `more` with '_' for '-'."""
    return [("authorization", f"Bearer {token}"), *((key.replace("_", "-"), value) for key, value in more.items())]
