# unsam on the CPU, or on a GPU of NVIDIA with the container toolkit: docker run --gpus all ...
#   docker build -t unsam .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" unsam run photos/ -o out/
FROM python:3.12-slim-bookworm

# torch for the CPU is a twentieth of the size: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_INDEX=https://pypi.org/simple

ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    # compiled kernels and downloaded weights: whoever runs the container can write here
    NUMBA_CACHE_DIR=/tmp/numba \
    HF_HOME=/tmp/huggingface

# before the source, so that a change of the source does not download torch again
RUN pip install --index-url "$TORCH_INDEX" "torch>=2.5" "torchvision>=0.20"

COPY . /src
RUN pip install /src && rm -rf /src

WORKDIR /data
USER nobody
ENTRYPOINT ["unsam"]
CMD ["--help"]
