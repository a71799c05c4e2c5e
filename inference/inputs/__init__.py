"""Brings the films of datasets to the networks, in chunks."""
