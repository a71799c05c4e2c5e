"""Faster forms of Keras layers, put into a model by `fuse.fuse`."""
