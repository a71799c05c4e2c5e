"""Shows a dataset to people: statistics, contact sheet, page."""
