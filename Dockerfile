# One image for driver, executor, operator and command line. BASE: a Debian 12 or later with Python 3.11 or later and its
# venv module; it needs no pip. `docker build -t tidemill .`, with `--build-arg EXTRAS=all,operator` to leave extras out.
ARG BASE=python:3.11-slim

FROM ${BASE} AS dependencies
WORKDIR /src
# Two environments: one that builds and has pip, and the one that the image keeps, which has neither.
RUN python3 -m venv /build && python3 -m venv --without-pip /tidemill
COPY constraints.txt ./
RUN /build/bin/pip install --no-cache-dir --constraint constraints.txt hatchling
COPY pyproject.toml ./
ARG EXTRAS=all,cluster,redis,operator
# An empty wheel of our name brings what we depend on, so that a change of our code fetches nothing again.
# Tests and headers of others are 100 MB. Compiled here, since the root is read-only when it runs; by hash and unchecked,
# since a copy into another layer may change the times by which Python would tell what is stale.
RUN mkdir -p runtime/tidemill operator/tidemill_operator \
    && touch runtime/tidemill/__init__.py operator/tidemill_operator/__init__.py \
    && /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /empty . \
    && /build/bin/pip --python /tidemill/bin/python install --no-cache-dir --no-compile --constraint constraints.txt \
        "$(echo /empty/*.whl)[${EXTRAS}]" \
    && /build/bin/pip --python /tidemill/bin/python uninstall --yes tidemill \
    && find /tidemill/lib -type d \( -name tests -o -path '*/pyarrow/include' \) -prune -exec rm -rf {} + \
    && /tidemill/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /tidemill/lib

FROM dependencies AS build
COPY runtime runtime
COPY operator operator
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /build/bin/pip --python /tidemill/bin/python install --no-cache-dir --no-compile --no-deps --prefix /ours /wheel/*.whl \
    && /tidemill/bin/python -m compileall -q -s /ours -p /tidemill --invalidation-mode unchecked-hash /ours/lib

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Tidemill" \
      org.opencontainers.image.description="PySpark-shaped streaming on DuckDB and Arrow: driver, executor, operator and command line" \
      org.opencontainers.image.version="${VERSION}"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tidemill
COPY --from=dependencies /tidemill /tidemill
COPY --from=build /ours /tidemill
ENV PATH=/tidemill/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
# 8786: what a driver says to its executors, TLS only. 9090: health and metrics.
EXPOSE 8786 9090
ENTRYPOINT ["tidemill"]
