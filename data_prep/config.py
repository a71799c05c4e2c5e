"""Configurations of a conversion and of a synthetic folder."""

import dataclasses
import pathlib

from data_prep.core.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """One conversion of a source folder to datasets of one or more sizes.

    Attributes:
      source: folder of the labelled training images, or None.
      rle_csv: their labels as RLE, or None.
      mask_source: their labels as a folder of PNG masks, or None.
      test_source: folder of the unlabelled test images, or None.
      output: folder to write; one dataset folder per size is made in it.
      sizes: sides of the square images, in pixels; multiples of 32.
      num_folds: patient-grouped folds of the training images.
      fold_seed: seed of their shuffle.
      folds_csv: a published split to use instead, or None.
      group_csv: csv of image id and patient id, where the files lack it; or None.
      source_manifest: csv of the sha256 that each source file must have; or None.
      aspect: "pad" or "stretch", for images that are not square.
      interpolation: "area" or "linear", for shrinking the image.
      clahe: spec of the contrast equalisation, see data_prep/build/clahe.py.
      voi: "none", "first" or "percentile": the range of grey values to keep.
      frame: which frame of multi-frame files; None refuses them.
      modalities: DICOM modalities to accept; empty accepts all.
      refuse_burned_in: refuse files whose header says that text is in the pixels.
      dicom_decoder: "pydicom" or "tfio".
      pixel_encoding: "raw" or "png"; both lossless.
      records_per_shard: upper bound of records in one file.
      group_salt: secret key of the patients' hashes; never stored.
      max_bad_fraction: a larger share of bad inputs publishes nothing.
      allow_quarantined: so many quarantined inputs still exit with 0.
      num_workers: decoding processes; no influence on the bytes.
    """

    source: pathlib.Path | None
    rle_csv: pathlib.Path | None
    mask_source: pathlib.Path | None
    test_source: pathlib.Path | None
    output: pathlib.Path
    sizes: tuple[int, ...]
    num_folds: int
    fold_seed: int
    folds_csv: pathlib.Path | None
    group_csv: pathlib.Path | None
    source_manifest: pathlib.Path | None
    aspect: str
    interpolation: str
    clahe: str
    voi: str
    frame: int | None
    modalities: tuple[str, ...]
    refuse_burned_in: bool
    dicom_decoder: str
    pixel_encoding: str
    records_per_shard: int
    group_salt: str
    max_bad_fraction: float
    allow_quarantined: int
    num_workers: int

    def __post_init__(self):
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            raise ConfigError(
                f"Expected one or more different sizes. Received: sizes={self.sizes}"
            )
        if any(s < 32 or s % 32 for s in self.sizes):
            raise ConfigError(
                "Expected sizes that are multiples of 32 (every encoder halves five "
                f"times). Received: sizes={self.sizes}"
            )
        if not self.source and not self.test_source:
            raise ConfigError("Expected --source or --test_source. Received: neither")
        if self.source and bool(self.rle_csv) == bool(self.mask_source):
            raise ConfigError(
                "Expected either --rle_csv or --mask_source for the labels of "
                f"--source. Received: rle_csv={self.rle_csv}, "
                f"mask_source={self.mask_source}"
            )
        for name in ("source", "mask_source", "test_source"):
            folder = getattr(self, name)
            if folder and self.output.resolve().is_relative_to(folder.resolve()):
                raise ConfigError(
                    "Expected an output outside of the source. Received: "
                    f"output={self.output}, {name}={folder}"
                )

    def options(self, size: int) -> dict[str, object]:
        """Returns every option that influences the records of one size."""
        return {
            "image_size": size,
            "aspect": self.aspect,
            "interpolation": self.interpolation,
            "clahe": self.clahe,
            "voi": self.voi,
            "frame": self.frame,
            "modalities": self.modalities,
            "refuse_burned_in": self.refuse_burned_in,
            "dicom_decoder": self.dicom_decoder,
            "pixel_encoding": self.pixel_encoding,
            "num_folds": self.num_folds,
            "fold_seed": self.fold_seed,
            "published_folds": self.folds_csv is not None,
            "records_per_shard": self.records_per_shard,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """One synthetic folder in the competition's layout.

    Attributes:
      output: folder to write.
      num_train: labelled images; one unlabelled and one damaged are added.
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
