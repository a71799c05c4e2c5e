"""Finds the films of a folder, whatever their names, and reads their headers."""
