# Two images, of which the last is built where none is named:
#   docker build -t denoised .                         the server with the bundled model, and LibTorch for CPUs
#   docker build -t denoise-viewer --target viewer .   the page, without LibTorch
#   docker run --rm --read-only --tmpfs /tmp:exec -p 8500:8500 -p 8501:8501 denoised
#   docker run --rm --read-only -p 8080:8080 denoise-viewer --server HOST:8500
# Nothing is written but to /tmp, and there only where a model is an AOTInductor package, which is unpacked.
# For NVIDIA's devices, whose driver the container toolkit brings in when the container starts:
#   docker build --build-arg TORCH=torch-cuda -t denoised:cuda .
#   docker run --rm --gpus all -p 8500:8500 -p 8501:8501 denoised:cuda \
#     --model /usr/local/share/denoised/models/digits --devices all
# What all stages are made from. The tag moves; a digest does not: --build-arg BASE=debian:bookworm-slim@sha256:…
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS packages
WORKDIR /src
COPY dev ./
COPY requirements requirements
# LIBTORCH, wherever it is, keeps LibTorch from being fetched.
RUN LIBTORCH=/none ./dev setup
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY deploy/debian deploy/debian
COPY proto proto
COPY net net
COPY client client

FROM packages AS build-viewer
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset release -DDENOISE_BUILD_SERVER=OFF -DDENOISE_BUILD_TESTS=OFF \
    && cmake --build --preset release --target denoise-viewer \
    && cmake --install build --prefix /dist --strip --component viewer

FROM ${BASE} AS viewer
RUN apt-get update \
    && apt-get install -y --no-install-recommends libcpp-httplib0.11 libgrpc++1.51 libprotobuf32 libssl3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=build-viewer /dist /usr/local
ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="denoise-viewer" \
      org.opencontainers.image.description="Shows the chains of a Denoised server in a browser" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/$BASE"
ENV DENOISE_VIEWER_LISTEN=0.0.0.0:8080
EXPOSE 8080
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/local/bin/denoise-viewer", "--probe"]
ENTRYPOINT ["/usr/local/bin/denoise-viewer"]

FROM packages AS build
# In a layer of its own, from requirements/$TORCH.txt.
ARG TORCH=torch
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps -r requirements/$TORCH.txt
COPY server server
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset release -DDENOISE_BUILD_TESTS=OFF \
    && cmake --build --preset release --target denoised
COPY models/digits models/digits
RUN cmake --install build --prefix /dist --strip --component server

FROM ${BASE} AS server
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       libcpp-httplib0.11 libgrpc++1.51 libprometheus-cpp-core1.0 libpng16-16 \
       libjemalloc2 libprotobuf32 libspdlog1.10 libssl3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=build /dist /usr/local
ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="denoised" \
      org.opencontainers.image.description="Samples diffusion models over gRPC" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/$BASE"
ENV DENOISED_LISTEN=0.0.0.0:8500 \
    DENOISED_METRICS_LISTEN=0.0.0.0:8501
EXPOSE 8500 8501
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/denoised", "--probe"]
ENTRYPOINT ["/usr/local/bin/denoised"]
CMD ["--model", "/usr/local/share/denoised/models/digits"]
