"""`make gpu-check`: what a machine with a GPU runs once; see __main__.py."""
