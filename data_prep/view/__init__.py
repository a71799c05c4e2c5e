"""A page and a contact sheet that show a dataset."""
