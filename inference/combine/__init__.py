"""Combines finished predictions: votes on masks, averages probabilities."""
