# A trained model as a service:
#
#   docker build -t napari-mrgen .
#   docker run --rm --init -p 127.0.0.1:8501:8501 -v "$PWD/run:/model:ro" napari-mrgen
#
# With a GPU: build with --build-arg TORCH=https://download.pytorch.org/whl/cu128, run with --gpus all.
FROM python:3.11-slim

# Where torch comes from: its builds for CPUs are a tenth of the size of those for GPUs.
ARG TORCH=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    MPLCONFIGDIR=/tmp/matplotlib

WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY napari_mrgen ./napari_mrgen
RUN python -m pip install --constraint constraints.txt --index-url "$TORCH" --extra-index-url https://pypi.org/simple torch \
 && python -m pip install --constraint constraints.txt ".[serve]"

# Nobody in particular: the service reads a model and writes to /tmp alone.
RUN useradd --system --no-create-home mrgen
USER mrgen

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/health', timeout=4)"]

ENTRYPOINT ["napari-mrgen"]
CMD ["serve", "/model", "--host", "0.0.0.0", "--port", "8501"]
