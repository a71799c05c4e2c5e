"""Turns probabilities into masks; other rooms import `postprocess`, tuning its parts.

`mask_runs` and `upsampling` are fast but hard to read. Their plain forms, on whole
images by SciPy and OpenCV, are the oracle of the tests.
"""
