"""HTTP/2 by hand, for callers that no library would be. RFC 9113."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x1, 0x3, 0x4, 0x6, 0x7
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
MAX_CONCURRENT_STREAMS = 0x3  # of SETTINGS
CANCEL, ENHANCE_YOUR_CALM = 0x8, 0xB


@dataclass(frozen=True)
class Frame:
    type: int
    flags: int
    stream: int
    payload: bytes

    def settings(self) -> dict[int, int]:
        return dict(struct.iter_unpack(">HI", self.payload))

    def goaway_code(self) -> int:
        return struct.unpack(">I", self.payload[4:8])[0]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


OPENING = PREFACE + frame(SETTINGS)


def call_headers(path: str) -> bytes:
    """The header block of a gRPC call: HPACK (RFC 7541), literals without an index."""

    def literal(name: str, value: str) -> bytes:
        return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))

    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "here"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    return b"".join(literal(name, value) for name, value in fields.items())


def frames(connection: socket.socket) -> Iterator[Frame]:
    """What the server sends, until it closes the connection."""
    buffered = b""
    while True:
        while len(buffered) >= 9 and len(buffered) >= 9 + (size := int.from_bytes(buffered[:3], "big")):
            type_, flags, stream = struct.unpack(">BBI", buffered[3:9])
            yield Frame(type_, flags, stream, buffered[9 : 9 + size])
            buffered = buffered[9 + size :]
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            return
        if not piece:
            return
        buffered += piece
