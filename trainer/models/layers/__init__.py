"""Plain layers that Keras lacks."""
