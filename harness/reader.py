"""A client in a process of its own, to be killed: python -m harness.reader ADDRESS METHOD.

Reads the serialized request from stdin, and writes the number of messages received, a line each.
"""

import sys

import grpc


def main() -> None:
    address, method = sys.argv[1:]
    request = sys.stdin.buffer.read()
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_stream(method, lambda raw: raw, lambda raw: raw)
        for count, _ in enumerate(call(request, timeout=120), start=1):
            print(count, flush=True)


if __name__ == "__main__":
    main()
