# The parts as images: `docker build --target agent|server|broker`. Nothing runs as root, and state is in /state.

FROM python:3.12-slim-bookworm AS source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/dashfleet
ENV PATH=/opt/dashfleet/bin:$PATH
WORKDIR /source
COPY requirements/run.txt requirements/run.txt

# On each machine: nothing of a server.
FROM source AS build-agent
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^ ;\]*\).*/\1/p' requirements/run.txt > /versions.txt
COPY . .
RUN pip install --quiet --constraint /versions.txt '.[agent]'

# What the server's parts need, exactly as tested.
FROM source AS build-server
RUN pip install --quiet --require-hashes --requirement requirements/run.txt
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm AS runtime
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
