# The serving image: one process that serves the artifacts under /models on CPU. Of the base image only Python and
# the libraries it links to remain. See docs/containers.md.
#
#   docker build -t pgb-serve:0.2.0 .
#
# A pip configuration of your own (an index, a proxy) is passed as a secret and stays out of the image:
#   docker build --secret id=pip,src=pip.conf .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY docker/locks/serve.txt /lock.txt
# --no-deps: the lock is complete, less the hub client that `tokenizers` asks for and serving never calls.
RUN --mount=type=secret,id=pip,target=/root/.config/pip/pip.conf \
    python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --quiet --no-deps --only-binary :all: --require-hashes -r /lock.txt
COPY docker/rootfs /rootfs
RUN /rootfs /venv /root-of-image && mkdir /models
COPY service /app/service
COPY pgb_core /app/pgb_core
COPY docker/healthcheck.py /app/healthcheck.py
RUN python -m compileall -q /app

FROM scratch
ARG PYTHON_IMAGE
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pgb-serve" \
      org.opencontainers.image.description="Serves pgb artifacts: classification and extractive question answering" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /root-of-image /
COPY --from=build /venv /venv
COPY --from=build --chown=10001:10001 /models /models
COPY --from=build /app /app
WORKDIR /app
# PGB_DEFAULT_ is below a file of settings, which PGB_ would be above.
ENV PATH=/venv/bin PYTHONPATH=/app LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
    PGB_DEFAULT_HOST=0.0.0.0 PGB_DEFAULT_MODELS_DIR=/models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-IS", "/app/healthcheck.py"]
ENTRYPOINT ["python", "-P", "-m", "service"]
