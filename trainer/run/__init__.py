"""A run folder: checkpoints, weights, log, curves, summaries, preemption."""
