"""First weights: pretrained encoders, NIH checkpoints, earlier runs."""
