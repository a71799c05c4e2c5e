"""Searches for the thresholds with the best out-of-fold score."""
