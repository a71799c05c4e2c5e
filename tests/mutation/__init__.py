"""Damages files of every kind, and tells whether what passes was valid on its own.

Silent damage is a mutant that decodes to other pixels than its original although its
encoded pixels were changed and are not valid any more. Whether they are is decided
here without the readers under test: OpenCV's decoders with their warnings, the check
sums of PNG and DEFLATE, and plain readings of the formats that have no check.
"""
