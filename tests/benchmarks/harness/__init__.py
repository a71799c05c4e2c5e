"""Runs benchmarks: the suite, timing, workers, limits of the machine, peers."""
