"""The code that the benchmarks compare; each side runs in a separate process."""
