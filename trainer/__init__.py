"""Train one member: sharded TFRecords to a run folder."""

import os

# TensorFlow's native log repeats on every start that CUDA plugins register twice
# and that an optional graph rewrite was skipped. Faults come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
