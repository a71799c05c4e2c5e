"""Loads members and runs them as one model: views, mean, cascade."""
