"""Asks PyPI which pinned packages have known vulnerabilities: `make audit`."""
