"""Checks a finished dataset against its manifest."""
