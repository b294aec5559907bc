# dgaug as a container; what is installed, and how, is the target `runtime` of the Makefile.
#
#   CPU:   docker build -t dgaug .
#   CUDA:  docker build -t dgaug --build-arg BASE=nvidia/cuda:12.6.3-runtime-ubuntu24.04 .
#   run:   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/data dgaug demo
#          docker run ... --gpus all dgaug train --data Market-1501 --config market1501
#
# With --user the results in the mounted folder belong to who runs it.
# PyTorch's wheels without CUDA lie in an index of their own: --build-arg PIP_EXTRA_INDEX_URL=... makes the CPU image smaller.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

ARG PIP_EXTRA_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# The versions are those of the base.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --no-install-recommends -y make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
RUN make runtime VENV=/opt/dgaug && rm -rf /src/*

# Home and /data are there for every user: what --user names has neither.
RUN useradd --uid 10001 --create-home dgaug && chmod 1777 /home/dgaug && install --directory --mode 1777 /data
ENV HOME=/home/dgaug USER=dgaug
USER 10001
WORKDIR /data
ENTRYPOINT ["/opt/dgaug/bin/dgaug"]
CMD ["--help"]
