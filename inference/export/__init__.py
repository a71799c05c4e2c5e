"""The ensemble as artefacts that are served without our code."""
