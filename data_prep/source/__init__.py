"""Reads what people have: DICOM, PNG and JPEG films, label csvs."""
