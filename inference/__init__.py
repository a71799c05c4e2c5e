"""Predicts with an ensemble, tunes and scores masks, and combines predictions."""
