"""Convert once: DICOM files and an RLE csv to sharded TFRecords."""
