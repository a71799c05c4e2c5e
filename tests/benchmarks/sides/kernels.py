"""The limit: only the kernels that every conversion needs, on one core.

    python -m tests.benchmarks.sides.kernels --source=DIR --sizes=256,512

Times, over all files, Pillow's JPEG decoding of the encapsulated frame, resizing and
CLAHE at every size, and one copy of the file, the decoded image and each result.
It leaves out reading DICOM, masks, hashes, records, processes and the disk. Prints one
line of JSON with the seconds per file of each kernel, and their sum in wall and CPU
seconds.
"""

import argparse
import io
import json
import pathlib
import time

import cv2
import numpy as np
import PIL.Image
import pydicom
import pydicom.encaps


def frame_of(path):
    """Returns the JPEG stream of a file's only frame."""
    pixel_data = pydicom.dcmread(path).PixelData
    return pydicom.encaps.get_frame(pixel_data, 0, number_of_frames=1)


def measure(frames, sizes):
    """Returns {kernel: seconds over all frames}."""
    clahe = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    seconds = dict.fromkeys(("decode", "resize", "clahe", "copy"), 0.0)

    def timed(kernel, function, *args, **kwargs):
        started = time.perf_counter()
        result = function(*args, **kwargs)
        seconds[kernel] += time.perf_counter() - started
        return result

    for frame in frames:
        image = timed("decode", _decode, frame)
        timed("copy", bytearray, frame)
        timed("copy", image.copy)
        for size in sizes:
            small = timed(
                "resize", cv2.resize, image, (size, size), interpolation=cv2.INTER_AREA
            )
            small = timed("clahe", clahe.apply, small)
            timed("copy", small.tobytes)
    return seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--sizes", default="256,512")
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    cv2.setNumThreads(1)
    frames = [frame_of(path) for path in sorted(args.source.glob("*.dcm"))]
    measure(frames[:4], sizes)
    cpu_before = time.process_time()
    seconds = measure(frames, sizes)
    cpu_s = time.process_time() - cpu_before
    report = {name: value / len(frames) for name, value in seconds.items()}
    report |= {
        "wall_s": sum(seconds.values()) / len(frames),
        "cpu_s": cpu_s / len(frames),
    }
    print(json.dumps(report))


def _decode(frame):
    return np.asarray(PIL.Image.open(io.BytesIO(frame)))


if __name__ == "__main__":
    main()
