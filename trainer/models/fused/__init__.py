"""Faster forms of Keras layers."""
