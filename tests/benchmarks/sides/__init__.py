"""The code that is compared, each side in a process of its own."""
