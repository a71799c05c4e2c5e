"""Runs members as one model: loading, views, means, the cascade."""
