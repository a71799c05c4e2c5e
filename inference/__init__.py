"""Predict in bulk: test records through an ensemble to a submission."""
