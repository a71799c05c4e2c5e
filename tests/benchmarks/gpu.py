"""Shorter name of tests/benchmarks/cases/gpu.py; see there."""

from tests.benchmarks.cases import gpu

if __name__ == "__main__":
    gpu.main()
