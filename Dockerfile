# The parts as images: `docker build --target agent|server|broker`. Nothing runs as root, and state is in /state.
#
# A tag can point to another image tomorrow. Pin it by its digest, which `docker buildx imagetools inspect
# python:3.12-slim-bookworm` prints: `--build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:…`.

ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/dashfleet
ENV PATH=/opt/dashfleet/bin:$PATH
WORKDIR /source
COPY requirements/ requirements/
COPY runtime/bundle/agent-requirements.txt requirements/agent.txt

# What the server's parts need, exactly as tested, and the wheel for both.
FROM source AS build-server
RUN pip install --quiet --require-hashes --requirement requirements/run.txt
COPY . .
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . && pip install --quiet --no-deps /wheel/*.whl

# On each machine: nothing of a server.
FROM source AS build-agent
RUN pip install --quiet --require-hashes --requirement requirements/agent.txt
COPY --from=build-server /wheel /wheel
RUN pip install --quiet --no-deps /wheel/*.whl

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/dashfleet/bin:$PATH PYTHONUNBUFFERED=1 DASHFLEET_DATA=/state
RUN useradd --uid 1000 --create-home --home-dir /state dashfleet
WORKDIR /state
USER dashfleet
ENTRYPOINT ["dashfleet"]

FROM runtime AS agent
COPY --from=build-agent /opt/dashfleet /opt/dashfleet
CMD ["agent"]

FROM runtime AS server
COPY --from=build-server /opt/dashfleet /opt/dashfleet
CMD ["ingestor"]

FROM runtime AS broker
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends mosquitto && rm -rf /var/lib/apt/lists/*
USER dashfleet
ENV DASHFLEET_MOSQUITTO_PROGRAM=/usr/sbin/mosquitto
COPY --from=build-server /opt/dashfleet /opt/dashfleet
CMD ["mosquitto"]
