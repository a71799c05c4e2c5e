"""Predicts a split in resumable parts and writes what was asked for."""
