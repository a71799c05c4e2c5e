"""Pages and pictures that show a prediction or its evaluation."""
