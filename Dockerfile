# slimyolo on a processor. Build and use:
#   docker build -t slimyolo .
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" slimyolo data check my.yaml
# Paths in commands are those below the folder that you mount. `--shm-size` is not needed: loader processes do not use /dev/shm.
FROM python:3.11-slim

COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /tmp/slimyolo/
COPY src /tmp/slimyolo/src
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt '/tmp/slimyolo[export,openvino,ncnn,serve,tensorboard]' \
 && rm -r /tmp/slimyolo

# the page of `serve` listens inside the container: publish it with -p 127.0.0.1:8000:8000 and give --host 0.0.0.0
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["slimyolo"]
CMD ["--help"]
