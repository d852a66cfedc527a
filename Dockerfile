# syntax=docker/dockerfile:1
# Two images: `service` (API, migrations, dispatcher, ingest; no torch) and `trainer` (the same with the engine, for GPUs).
# Packages are pinned by constraints.txt. Pin the base image by its digest where builds must be the same to the byte:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:… --target service .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# One user without a shell or a home of its own. /data is the one place it may write to, and where volumes go.
RUN groupadd --gid 10001 wecolora \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin wecolora \
    && install --directory --owner 10001 --group 10001 /data /data/tmp

# Packages are installed in stages of their own: pip's leavings stay there, and a change of code installs nothing anew.
FROM base AS service-packages
WORKDIR /build
COPY pyproject.toml constraints.txt ./
COPY tools/list_requirements.py tools/
RUN python -m venv /venv \
    && python tools/list_requirements.py service tracing > requirements.txt \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt

FROM service-packages AS trainer-packages
RUN python tools/list_requirements.py engine service tracing > requirements.txt \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt

# Node comes from a Python package, the same one that ./run build takes.
FROM base AS dashboard
WORKDIR /build
COPY pyproject.toml constraints.txt ./
COPY tools/list_requirements.py tools/dashboard.py tools/
RUN python -m venv /venv \
    && python tools/list_requirements.py dashboard > requirements.txt \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt
COPY frontend frontend
RUN /venv/bin/python tools/dashboard.py build

FROM base AS code
WORKDIR /app
COPY alembic.ini LICENSE ./
COPY migrations migrations
COPY core core
COPY api api
COPY worker worker
COPY wecolora wecolora
COPY samples/digits_teacher samples/digits_teacher
COPY --from=dashboard /build/frontend/dist frontend/dist
ENV PATH=/venv/bin:${PATH} \
    PYTHONPATH=/app \
    HOME=/data \
    TMPDIR=/data/tmp \
    WECOLORA_DATA_DIR=/data
USER 10001:10001

FROM code AS service
COPY --from=service-packages /venv /venv
EXPOSE 8000
CMD ["uvicorn", "api.main:app", "--host", "0.0.0.0", "--port", "8000", "--log-level", "warning", "--no-server-header"]

# torch from the package index brings CUDA's libraries; the driver comes from the machine by NVIDIA's container toolkit.
FROM code AS trainer
COPY --from=trainer-packages /venv /venv
ENV GOMP_SPINCOUNT=1000 \
    MPLCONFIGDIR=/data/tmp/matplotlib
CMD ["celery", "--quiet", "--app", "worker.app", "worker", "--pool", "threads", "--concurrency", "1", "--queues", "jobs"]
