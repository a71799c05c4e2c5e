"""The side of a server: an exported SavedModel over a folder of films, to a csv.

python -m tests.benchmarks.sides.serve_films MODEL FILMS CSV BATCH_SIZE
"""

import pathlib
import sys

import tensorflow as tf


def main(model: str, films: str, csv: str, batch_size: str) -> None:
    loaded = tf.saved_model.load(str(pathlib.Path(model) / "1"))
    served = loaded.signatures["serving_default"]
    paths, size = sorted(pathlib.Path(films).iterdir()), int(batch_size)
    with open(csv, "w") as file:
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            data = tf.constant([path.read_bytes() for path in batch])
            found = {k: v.numpy() for k, v in served(image_bytes=data).items()}
            if any(found["error"]):
                raise SystemExit(f"not served: {found['error']}")
            areas = found["mask"].sum(axis=(1, 2), dtype=int)
            for path, area in zip(batch, areas, strict=True):
                file.write(f"{path.stem},{area}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
