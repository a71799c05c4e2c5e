"""Configurations of a conversion and of a synthetic folder."""

import dataclasses
import pathlib
from typing import Annotated
from typing import Literal

from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range
from data_prep.core.ranges import check_ranges


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Conversion of a source folder to datasets of one or more sizes.

    Attributes:
      source: folder of the labelled training images, or None.
      rle_csv: csv of the training labels as RLE, or None.
      mask_source: folder of the training labels as PNG masks, or None.
      test_source: folder of the unlabelled test images, or None.
      output: folder to write, with one dataset folder per size.
      sizes: sides of the square images, in pixels; multiples of 32.
      num_folds: number of patient-grouped folds of the training images.
      fold_seed: seed of the shuffle that assigns patients to folds.
      folds_csv: csv of a published split that replaces the shuffle, or None.
      group_csv: csv of image id and patient id, where the files have no patient id;
        or None.
      source_manifest: csv of image id and the sha256 that each source must have; or
        None.
      aspect: how an image that is not square becomes square.
      interpolation: how an image is shrunk.
      clahe: spec of the contrast equalisation, see data_prep/build/clahe.py.
      voi: which grey values are mapped to 0 to 255, see data_prep/source/grey.py.
      frame: index of the frame to take from multi-frame files; None refuses them.
      modalities: DICOM modalities to accept; empty accepts all.
      refuse_burned_in: whether files that declare text in their pixels are refused.
      dicom_decoder: library that decodes DICOM files.
      pixel_encoding: how pixels are stored; both encodings are lossless.
      records_per_shard: maximum number of records in one file.
      group_salt: secret key of the patient hash; it is never stored.
      max_bad_fraction: share of bad inputs above which nothing is published.
      allow_quarantined: maximum number of quarantined inputs for exit code 0.
      num_workers: number of decoding processes; it does not change the bytes.
    """

    source: pathlib.Path | None
    rle_csv: pathlib.Path | None = None
    mask_source: pathlib.Path | None = None
    test_source: pathlib.Path | None = None
    output: pathlib.Path
    sizes: tuple[int, ...] = (256, 512)
    num_folds: Annotated[int, Range(at_least=2)] = 5
    fold_seed: Annotated[int, Range(at_least=0)] = 10
    folds_csv: pathlib.Path | None = None
    group_csv: pathlib.Path | None = None
    source_manifest: pathlib.Path | None = None
    aspect: Literal["pad", "stretch"] = "pad"
    interpolation: Literal["area", "linear"] = "area"
    clahe: str = "opencv(clip_limit=2.0, tiles=8)"
    voi: Literal["none", "first", "percentile"] = "first"
    frame: int | None = None
    modalities: tuple[str, ...] = ()
    refuse_burned_in: bool = False
    dicom_decoder: Literal["pydicom", "tfio"] = "pydicom"
    pixel_encoding: Literal["raw", "png"] = "raw"
    records_per_shard: Annotated[int, Range(at_least=1)] = 512
    group_salt: str = ""
    max_bad_fraction: Annotated[float, Range(at_least=0, at_most=1)] = 0.02
    allow_quarantined: Annotated[int, Range(at_least=0)] = 0
    num_workers: int

    def __post_init__(self):
        check_ranges(self)
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
        """Returns the options that decide the records of one size, for dataset.json."""
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
    """Synthetic folder in the competition's layout.

    Attributes:
      output: folder to write.
      num_train: number of labelled images; an unlabelled and a damaged one are added.
      num_test: number of test images.
      positive_fraction: share of the images with a pneumothorax.
      image_size: side of the images, in pixels; the competition has 1024.
      seed: seed of every image.
      num_workers: number of drawing processes; it does not change the bytes.
    """

    output: pathlib.Path
    num_train: Annotated[int, Range(at_least=1)] = 240
    num_test: Annotated[int, Range(at_least=1)] = 60
    positive_fraction: Annotated[float, Range(at_least=0, at_most=1)] = 0.4
    image_size: Annotated[int, Range(at_least=64)] = 1024
    seed: int
    num_workers: int

    def __post_init__(self):
        check_ranges(self)
