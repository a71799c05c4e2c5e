"""Scores a submission against the truth."""
