"""Random augmentation of whole batches, on the graph."""
