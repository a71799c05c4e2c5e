"""The command line: every flag with its help text, and its frozen config."""
