"""Describes a run's training films, to tell films of another kind."""
