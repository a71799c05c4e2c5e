# Databricks notebook source
# Converts films on the workers of a Databricks cluster (dedicated access mode).
# In the cluster's settings, Advanced, Spark, write the environment variables
#     RAY_AUTH_MODE=token
#     RAY_AUTH_TOKEN={{secrets/pneumothorax/ray_token}}
#     RAY_USAGE_STATS_ENABLED=0
# The secret is any 64 random hexadecimal digits. Workers need the same packages: make
# the project's wheel, ray[default]==2.60.0 and s3fs libraries of the cluster.

# COMMAND ----------
import subprocess
import sys

from ray.util.spark import setup_ray_cluster
from ray.util.spark import shutdown_ray_cluster

# One Ray node for each of eight Spark workers of 16 cores, one of which stays Spark's.
setup_ray_cluster(
    max_worker_nodes=8,
    num_cpus_worker_node=15,
    object_store_memory_worker_node=100_000_000,
    object_store_memory_head_node=100_000_000,
    head_node_options={"disable_usage_stats": None, "include_dashboard": False},
    worker_node_options={"disable_usage_stats": None},
)

# COMMAND ----------
# setup_ray_cluster has set RAY_ADDRESS, which --cluster=auto uses. Films may be read
# from /Volumes; records go to a bucket: volumes do not take every way of writing.
try:
    code = subprocess.run(
        [
            sys.executable,
            "-m",
            "data_prep.main",
            "--source=s3://films/siim/dicom-images-train",
            "--rle_csv=s3://films/siim/train-rle.csv",
            "--output=s3://films/data/siim",
            "--sizes=256,512",
            "--cluster=auto",
        ],
        check=False,
    ).returncode
finally:
    shutdown_ray_cluster()

# 3: done, and quarantine.csv lists films that could not be used.
if code not in (0, 3):
    raise SystemExit(f"data_prep.main ended with exit code {code}")
