"""The command line: every flag, its only default, and its frozen config."""
