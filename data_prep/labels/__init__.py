"""Reads label csvs in every dialect: masks as RLE, findings of whole images."""
