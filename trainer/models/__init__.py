"""Segmentation networks and classifiers, built by name through the registry."""
