# The environment of the pipeline's jobs, for `snakemake --software-deployment-method apptainer` and clusters:
#     docker build --tag palimpsest .
FROM python:3.11-slim
COPY requirements.lock /tmp/
RUN python -m pip install --no-cache-dir --requirement /tmp/requirements.lock
ENV PYTHONPATH=src
