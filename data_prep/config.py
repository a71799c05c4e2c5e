"""Configurations of a conversion and of a synthetic folder."""

import dataclasses
import hashlib
import pathlib
from typing import Annotated
from typing import Literal

from data_prep.core import remote
from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range
from data_prep.core.ranges import check_ranges
from data_prep.dataset.schema_version import IMAGE_LABELS
from data_prep.dataset.schema_version import MASKS
from data_prep.dataset.schema_version import SCHEMA_VERSION


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the work of a command runs; it changes no byte of what is made.

    Attributes:
      cluster: address of a Ray cluster, "auto" for the one this machine belongs to, or
        "" for this machine alone.
      allow_open_cluster: whether a cluster that asks for no token may be used although
        other machines reach it.
      part: (index, number of parts) of an array job, or None for all of the work.
      plan_only: whether the command ends when it has written the plan of the parts.
    """

    cluster: str = ""
    allow_open_cluster: bool = False
    part: tuple[int, int] | None = None
    plan_only: bool = False

    def __post_init__(self):
        if self.cluster and (self.part or self.plan_only):
            raise ConfigError(
                "Expected --cluster, or --plan_only and --part. Received: both"
            )
        if self.part and self.plan_only:
            raise ConfigError("Expected --plan_only or --part. Received: both")


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
      label_csv: csvs of labels of whole images, without masks, or (). The first holds
        the labels; others are joined with it.
      id_column: column of the image ids; '' for a recognised name.
      label_column: columns of the labels; () for a recognised name.
      positive: findings that make a positive, in columns of text.
      uncertain: what becomes of an image whose label is uncertain.
      unmentioned: what becomes of an image of which the csv has no word on the finding.
      readers: how the labels of several readers are combined.
      patient_column: column of the patients; '' for a recognised name.
      view_column: column of the views; '' for a recognised name.
      views: views to keep; () keeps all.
      fold_lists: lists of file names, of which list k is fold k, or ().
      id_from: what the ids of images are made of, see data_prep/source/image_ids.py.
      require_all_images: whether labels without an image are bad inputs.
      source_manifest: csv of image id and the sha256 that each source must have; or
        None.
      aspect: how an image that is not square becomes square.
      interpolation: how an image is shrunk.
      clahe: spec of the contrast equalisation, see data_prep/build/clahe.py.
      voi: which grey values are mapped to 0 to 255, see data_prep/pixels/grey.py.
      frame: index of the frame to take from multi-frame files; None refuses them.
      modalities: DICOM modalities to accept; empty accepts all.
      refuse_burned_in: whether files that declare text in their pixels are refused.
      dicom_decoder: library that decodes DICOM files.
      pixel_encoding: how pixels are stored; both encodings are lossless.
      records_per_shard: maximum number of records in one file.
      group_salt: secret key of the patient hash; it is never stored.
      max_bad_fraction: share of bad inputs above which nothing is published.
      allow_quarantined: maximum number of quarantined inputs for exit code 0.
      num_workers: number of decoding processes, of each task on a cluster; it does not
        change the bytes.
      placement: where the work runs.
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
    label_csv: tuple[pathlib.Path, ...] = ()
    id_column: str = ""
    label_column: tuple[str, ...] = ()
    positive: tuple[str, ...] = ("Pneumothorax",)
    uncertain: Literal["exclude", "positive", "negative"] = "exclude"
    unmentioned: Literal["exclude", "negative"] = "exclude"
    readers: Literal["any", "majority"] = "any"
    patient_column: str = ""
    view_column: str = ""
    views: tuple[str, ...] = ()
    fold_lists: tuple[pathlib.Path, ...] = ()
    id_from: Literal["stem", "path", "sop_instance_uid"] = "stem"
    require_all_images: bool = False
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
    placement: Placement = Placement()

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
        self._check_labels()
        for name in ("source", "mask_source", "test_source"):
            folder = getattr(self, name)
            if folder and remote.is_within(self.output, folder):
                raise ConfigError(
                    "Expected an output outside of the source. Received: "
                    f"output={self.output}, {name}={folder}"
                )
            if folder and remote.is_within(folder, self.output):
                raise ConfigError(
                    "Expected a source outside of the output, which may be deleted. "
                    f"Received: output={self.output}, {name}={folder}"
                )

    def _check_labels(self) -> None:
        given = [self.rle_csv, self.mask_source, self.label_csv]
        if self.source and sum(map(bool, given)) != 1:
            raise ConfigError(
                "Expected one of --rle_csv, --mask_source and --label_csv for the "
                f"labels of --source. Received: rle_csv={self.rle_csv}, "
                f"mask_source={self.mask_source}, "
                f"label_csv={','.join(map(str, self.label_csv)) or None}"
            )
        unused = ("id_column", "label_column", "patient_column", "view_column", "views")
        named = [name for name in unused if getattr(self, name)]
        if named and not self.label_csv:
            raise ConfigError(f"Expected --label_csv. Received: {named[0]} alone")
        for field in dataclasses.fields(self):
            is_policy = field.name in ("uncertain", "unmentioned", "readers")
            if is_policy and not self.label_csv:
                value = getattr(self, field.name)
                if value != field.default:
                    raise ConfigError(
                        f"Expected --label_csv. Received: {field.name}={value} alone"
                    )
        if self.label_csv and not self.source:
            raise ConfigError("Expected --source with --label_csv. Received: none")
        for first, second in (
            ("group_csv", "patient_column"),
            ("folds_csv", "fold_lists"),
        ):
            if getattr(self, first) and getattr(self, second):
                raise ConfigError(f"Expected --{first} or --{second}. Received: both")
        if self.fold_lists and (not self.source or len(self.fold_lists) < 2):
            raise ConfigError(
                "Expected two or more fold_lists, for the images of --source. "
                f"Received: fold_lists={','.join(map(str, self.fold_lists))}, "
                f"source={self.source}"
            )

    def options(self, size: int) -> dict[str, object]:
        """Returns the options that decide the records of one size, for dataset.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "labels": IMAGE_LABELS if self.label_csv else MASKS,
            "label_rule": self._label_rule(),
            "id_from": self.id_from,
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
            "published_folds": bool(self.folds_csv or self.fold_lists),
            "records_per_shard": self.records_per_shard,
            "group_salt_check": self.salt_check(),
        }

    def salt_check(self) -> str | None:
        """Returns what shows that the secret is another one, without telling it."""
        if not self.group_salt:
            return None
        key = self.group_salt.encode()[:64]
        return hashlib.blake2b(b"check", key=key, digest_size=8).hexdigest()

    def _label_rule(self) -> dict[str, object] | None:
        """Returns how labels of whole images are read; None where there are masks."""
        if not self.label_csv:
            return None
        names = ("id_column", "label_column", "positive", "uncertain", "unmentioned")
        names += ("readers", "patient_column", "view_column", "views")
        return {name: getattr(self, name) for name in names}


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
