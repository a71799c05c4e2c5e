"""Draws what was predicted and scored: pages, charts, pictures."""
