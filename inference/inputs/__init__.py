"""Reads what the commands work on: images in chunks or by id, ids in csvs."""
