"""Runs benchmarks: suite, timing, worker processes, peers, equality checks."""
