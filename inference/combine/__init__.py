"""Combines finished predictions: votes over masks, means of probabilities."""
