"""What decides the outcome of a conversion."""

import dataclasses
import pathlib

from data_prep.failures import BadValue


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """One conversion of a source folder to datasets of one or more sizes.

    Attributes:
      source: folder of the labelled training images.
      rle_csv: their labels.
      test_source: folder of the unlabelled test images, or None.
      output: folder to write; one dataset folder per size is made in it.
      sizes: sides of the square images, in pixels; multiples of 32.
      num_folds: patient-grouped folds of the training images.
      fold_seed: seed of their shuffle.
      clahe: spec of the contrast equalisation, see data_prep/clahe.py.
      interpolation: "area" or "linear", for shrinking the image.
      pixel_encoding: "raw" or "png"; both lossless.
      records_per_shard: upper bound of records in one file.
      group_salt: secret that keys the hash of patients; never stored.
      max_bad_fraction: above this share of bad inputs nothing is published.
      allow_quarantined: up to this many quarantined inputs still exit with 0.
      num_workers: decoding processes; no influence on the bytes.
    """

    source: pathlib.Path
    rle_csv: pathlib.Path
    test_source: pathlib.Path | None
    output: pathlib.Path
    sizes: tuple[int, ...]
    num_folds: int
    fold_seed: int
    clahe: str
    interpolation: str
    pixel_encoding: str
    records_per_shard: int
    group_salt: str
    max_bad_fraction: float
    allow_quarantined: int
    num_workers: int

    def __post_init__(self):
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            raise BadValue(
                f"Expected one or more different sizes. Received: sizes={self.sizes}"
            )
        if any(s < 32 or s % 32 for s in self.sizes):
            raise BadValue(
                "Expected sizes that are multiples of 32 (every encoder halves five "
                f"times). Received: sizes={self.sizes}"
            )
        for name in ("source", "test_source"):
            folder = getattr(self, name)
            if folder and self.output.resolve().is_relative_to(folder.resolve()):
                raise BadValue(
                    "Expected an output outside of the source. Received: "
                    f"output={self.output}, {name}={folder}"
                )

    def options(self, size: int) -> dict[str, object]:
        """Returns every option that shapes the records of one size."""
        return {
            "image_size": size,
            "clahe": self.clahe,
            "interpolation": self.interpolation,
            "pixel_encoding": self.pixel_encoding,
            "num_folds": self.num_folds,
            "fold_seed": self.fold_seed,
            "records_per_shard": self.records_per_shard,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """One synthetic folder in the competition's layout.

    Attributes:
      output: folder to write.
      num_train: labelled images; one unlabelled and one damaged come on top.
      num_test: test images.
      positive_fraction: share of images with a pneumothorax.
      image_size: side, in pixels; the competition's is 1024.
      seed: decides every image.
      num_workers: drawing processes; no influence on the bytes.
    """

    output: pathlib.Path
    num_train: int
    num_test: int
    positive_fraction: float
    image_size: int
    seed: int
    num_workers: int
