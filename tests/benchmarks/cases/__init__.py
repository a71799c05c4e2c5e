"""One module per comparison; each is a command."""
