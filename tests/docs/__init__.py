"""Tests of the documents: what they tell a user to type."""
