"""Decides whether ops are bitwise reproducible, where the user leaves that open."""

import tensorflow as tf


def decide(asked: bool | None, stored: bool | None = None) -> tuple[bool, str]:
    """Returns whether ops are deterministic, and why.

    Left open, a CPU is deterministic. A GPU is not: there determinism excludes kernels,
    and what that costs is known of one network on one card.

    Args:
      asked: what the user asked for; None leaves it open.
      stored: what the run began with, which then goes on; None for a new run.
    """
    if asked is not None:
        return asked, "asked for"
    if stored is not None:
        return stored, "auto, as the run began"
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    return not has_gpu, "auto, GPU" if has_gpu else "auto, CPU"
