"""Converts a source into a dataset: plan, folds, records, shards."""
