"""Packs an ensemble into one file or folder that others can serve without us."""
