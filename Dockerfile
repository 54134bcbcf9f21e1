# syntax=docker/dockerfile:1
# Footnote in one image: docker build -t footnote . ; see app/guide/deploy.md

# What is built with pip stays in the first stage; the second has neither pip's cache nor the sources.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/footnote
WORKDIR /src
# With --build-arg LOCK=requirements-engines.lock the image also has the clients of Milvus and Ray.
ARG LOCK=requirements.lock
# The locked packages first: this layer is made again only when a lock changes.
COPY requirements.lock requirements-engines.lock ./
RUN /opt/footnote/bin/pip install -r "$LOCK"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY embeddings embeddings
COPY retrieval retrieval
COPY generation generation
COPY training training
COPY migrations migrations
COPY app app
RUN /opt/footnote/bin/pip install --no-deps . && /opt/footnote/bin/python -m compileall -q /opt/footnote/lib

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Footnote" \
      org.opencontainers.image.description="Semantic search and question answering with footnotes" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that an orchestrator can see that it is not root.
RUN groupadd --system --gid 10001 footnote \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data footnote \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/footnote /opt/footnote
# All that is ever written is in /data and /tmp, so the root file system can be read-only.
ENV PATH=/opt/footnote/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FOOTNOTE_HOME=/data \
    FOOTNOTE_HOST=0.0.0.0 \
    FOOTNOTE_PORT=8000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# The image has no curl. A start with a large collection may take a minute.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['FOOTNOTE_PORT']}/health/ready\", timeout=4)"]
STOPSIGNAL SIGTERM
# As a list, so that the service itself gets the signal and finishes what is in flight.
ENTRYPOINT ["footnote"]
CMD ["serve"]
