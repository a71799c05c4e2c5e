"""Turns records into batches: sampling, shuffling, decoding, tf.data pipelines."""
