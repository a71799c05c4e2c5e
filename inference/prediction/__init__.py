"""Predicts a split in resumable chunks and writes the outputs."""
