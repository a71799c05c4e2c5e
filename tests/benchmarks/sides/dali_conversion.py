"""The peer: the conversion by NVIDIA DALI on the CPU.

    python -m tests.benchmarks.sides.dali_conversion --source=DIR --rle_csv=CSV \\
        --output=DIR --sizes=256,512

pydicom finds the JPEG stream; DALI's threads decode it, shrink it and apply CLAHE. The
other peers' OpenCV and NumPy code makes the masks and serialises. DALI has no area
interpolation, but repeated linear halving gives the same result for these sizes.
"""

import numpy as np
import pydicom
import pydicom.encaps
from nvidia.dali import fn
from nvidia.dali import pipeline_def
from nvidia.dali import types

from tests.benchmarks.sides import natural_conversion

_BATCH = 16


class Files:
    """Feeds DALI with batches of JPEG streams, and keeps each file's metadata."""

    def __init__(self, paths):
        self.facts = []
        self._paths = iter(paths)

    def __call__(self):
        streams = []
        for path in self._paths:
            dataset = pydicom.dcmread(path)
            stream = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
            streams.append(np.frombuffer(stream, np.uint8))
            shape = dataset.Rows, dataset.Columns
            self.facts.append((path.stem, str(dataset.PatientID), shape))
            if len(streams) == _BATCH:
                break
        if not streams:
            raise StopIteration
        return streams


@pipeline_def(
    batch_size=_BATCH, num_threads=natural_conversion.NUM_WORKERS, device_id=None
)
def pipeline(files, side, sizes):
    image = fn.decoders.image(
        fn.external_source(source=files, dtype=types.UINT8),
        device="cpu",
        output_type=types.GRAY,
    )
    found = {}
    while side > min(sizes):
        side //= 2
        image = fn.resize(
            image,
            resize_x=side,
            resize_y=side,
            interp_type=types.INTERP_LINEAR,
            antialias=False,
        )
        found[side] = fn.clahe(image, tiles_x=8, tiles_y=8, clip_limit=2.0)
    return tuple(found[size] for size in sizes)


def examples_of(args):
    """Yields the list of serialised examples of each image."""
    rows = natural_conversion.read_rows(args.rle_csv)
    paths = sorted(args.source.glob("*.dcm"))
    files = Files(paths)
    side = pydicom.dcmread(paths[0], stop_before_pixels=True).Rows
    running = pipeline(files, side, args.sizes)
    running.build()
    for first in range(0, len(paths), _BATCH):
        outputs = running.run()
        for k in range(len(outputs[0])):
            image_id, patient, shape = files.facts[first + k]
            images = [np.asarray(output.at(k))[:, :, 0] for output in outputs]
            yield natural_conversion.serialized(
                images,
                shape,
                image_id,
                rows[image_id],
                (first + k) % natural_conversion.NUM_FOLDS,
                patient,
            )


if __name__ == "__main__":
    natural_conversion.run(examples_of)
