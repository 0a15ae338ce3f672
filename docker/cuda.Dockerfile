# The serving image for an NVIDIA GPU. CUDA and cuDNN come with the locked packages; the driver is the host's.
#
#   docker build -f docker/cuda.Dockerfile -t pgb-serve:0.2.0-cuda .
#   docker run --gpus all -v ./models:/models:ro -p 8000:8000 pgb-serve:0.2.0-cuda
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY docker/locks/cuda.txt /lock.txt
RUN --mount=type=secret,id=pip,target=/root/.config/pip/pip.conf \
    python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --quiet --no-deps --only-binary :all: --require-hashes -r /lock.txt
COPY service /app/service
COPY pgb_core /app/pgb_core
COPY docker/healthcheck.py /app/healthcheck.py
RUN python -m compileall -q /app && mkdir /models

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pgb-serve, CUDA" \
      org.opencontainers.image.description="Serves pgb artifacts on an NVIDIA GPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /venv /venv
COPY --from=build --chown=10001:10001 /models /models
COPY --from=build /app /app
WORKDIR /app
# A GPU runs large batches well. The last two ask the container runtime for the GPU and its compute libraries.
# The tokens are of text, not of access.
# hadolint ignore=DL3064
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 \
    PGB_DEFAULT_HOST=0.0.0.0 PGB_DEFAULT_MODELS_DIR=/models \
    PGB_DEFAULT_DEVICE=cuda PGB_DEFAULT_MAX_BATCH_TOKENS=16384 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=120s --start-interval=1s --retries=3 \
    CMD ["python", "-IS", "/app/healthcheck.py"]
ENTRYPOINT ["python", "-P", "-m", "service"]
