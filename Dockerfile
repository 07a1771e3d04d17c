# The server with the bundled model, on all addresses: gRPC on port 8500, metrics on 8501.
#   docker build -t denoised . && docker run --rm -p 8500:8500 -p 8501:8501 denoised
# For NVIDIA's devices, whose driver the container toolkit brings in when the container starts:
#   docker build --build-arg TORCH=torch-cuda -t denoised:cuda .
#   docker run --rm --gpus all -p 8500:8500 -p 8501:8501 denoised:cuda --model /models/digits --devices all
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY dev ./
COPY requirements requirements
# LibTorch comes in a layer of its own, from requirements/$TORCH.txt.
RUN LIBTORCH=later ./dev setup
ARG TORCH=torch
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps -r requirements/$TORCH.txt
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY proto proto
COPY client client
COPY server server
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset release -DDENOISE_BUILD_TESTS=OFF \
    && cmake --build --preset release --target denoised
RUN cmake --install build --prefix /dist --strip \
    && cmake/copy_libtorch.sh build/bin/denoised .venv/lib/python3*/site-packages /dist/lib

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       libgrpc++1.51 libprometheus-cpp-core1.0 libprometheus-cpp-pull1.0 libpng16-16 \
       libprotobuf32 libspdlog1.10 libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /dist /usr/local
COPY models/digits/denoiser.pt models/digits/model.json models/digits/scheduler_config.json \
     models/digits/README.md /models/digits/
LABEL org.opencontainers.image.title="denoised" \
      org.opencontainers.image.description="Samples diffusion models over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV DENOISED_LISTEN=0.0.0.0:8500 \
    DENOISED_METRICS_LISTEN=0.0.0.0:8501
EXPOSE 8500 8501
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/denoised", "--probe"]
ENTRYPOINT ["/usr/local/bin/denoised"]
CMD ["--model", "/models/digits"]
