# The offline job, with torch for CPU. Without a command it compresses the built-in models into /models.
#
#   docker build -f docker/job.Dockerfile -t pgb-job:0.2.0 .
#   docker run --user "$(id -u):$(id -g)" -v ./models:/models pgb-job:0.2.0 \
#     compress /models/my-bert --train /models/train.tsv --out /models/small
#
# torch for CPU comes from PyTorch's own index. Where that is out of reach, give the locked wheel in a folder:
#   docker build -f docker/job.Dockerfile --build-arg TORCH_BACKEND= --build-context wheels=FOLDER .
# A uv configuration of your own is passed as a secret: --secret id=uv,src=uv.toml
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM scratch AS wheels

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_BACKEND=cpu
# uv trusts the certificates of the image, as pip does.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY docker/locks/build.txt docker/locks/job.txt docker/locks/base.txt /locks/
RUN --mount=type=secret,id=pip,target=/root/.config/pip/pip.conf \
    pip install --quiet --only-binary :all: --require-hashes -r /locks/build.txt \
 && python -m venv --without-pip /venv
RUN --mount=type=secret,id=uv,target=/root/.config/uv/uv.toml \
    --mount=type=bind,from=wheels,target=/wheels \
    uv pip install --quiet --python /venv/bin/python --no-deps --only-binary :all: --compile-bytecode --require-hashes \
      --find-links /wheels ${TORCH_BACKEND:+--torch-backend=${TORCH_BACKEND}} -r /locks/job.txt -r /locks/base.txt
COPY pgb_core /app/pgb_core
COPY service /app/service
COPY examples /app/examples
RUN python -m compileall -q /app && mkdir /models

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pgb-job" \
      org.opencontainers.image.description="Compresses fine-tuned BERT-family encoders to pgb artifacts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /venv /venv
COPY --from=build --chown=10001:10001 /models /models
COPY --from=build /app /app
WORKDIR /app
# The user has no entry in /etc/passwd: torch asks for a name, and libraries for a home. A cache there would end with the
# container, and take its memory until then.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=pgb PGB_CACHE=
USER 10001:10001
ENTRYPOINT ["python", "-P", "-m", "pgb_core.cli"]
CMD ["demo", "--no-serve", "--dir", "/models"]
