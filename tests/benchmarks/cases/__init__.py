"""One module a comparison, each a command."""
