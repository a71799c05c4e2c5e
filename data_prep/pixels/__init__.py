"""Decodes DICOM, PNG and JPEG to the grey values that a display would show."""
