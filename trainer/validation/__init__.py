"""Scores a model on its validation fold."""
