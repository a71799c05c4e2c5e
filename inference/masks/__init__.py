"""Turns probabilities into masks; its door is `postprocess`, the rest is for tuning."""
