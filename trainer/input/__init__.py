"""From records to training batches: sampling, order, decoding, pipeline."""
