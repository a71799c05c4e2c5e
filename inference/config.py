"""Configurations of the inference commands. Imports neither TensorFlow nor absl."""

import dataclasses
import pathlib

from data_prep.core.errors import ConfigError
from data_prep.dataset import reference_area

OUTPUTS = ("csv", "masks", "overlays", "probabilities", "report")
ENGINES = ("tensorflow", "openvino")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """The engine that runs the networks.

    Attributes:
      name: one of ENGINES; "openvino" is faster on a CPU, but needs to be installed.
      precision: "f32" or "bf16" for OpenVINO; TensorFlow uses each member's own.
    """

    name: str
    precision: str

    def __post_init__(self):
        if self.name == "tensorflow" and self.precision != "f32":
            raise ConfigError(
                "Expected --engine=openvino, whose precision this is. Received: "
                f"engine={self.name}, openvino_precision={self.precision}"
            )

    def __str__(self) -> str:
        return self.name + f" {self.precision}" * (self.name == "openvino")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """One bulk prediction.

    Attributes:
      data: dataset folders, one for each size that a member reads, or the folder that
        has them.
      source: folder of DICOM or PNG files to predict instead of `data`, or None.
      members: run folders of segmenters, whose mean is predicted.
      classifiers: run folders of classifiers; an image whose probability is below the
        gate of `postprocess` is not segmented.
      weights: which weights of each run: "swa", "ema", "best" or "last".
      output: folder to write.
      tta: views of the segmenters, see inference/ensemble/tta.py.
      classifier_tta: views of the classifiers.
      classifier_random_views: number of random variations of each of the classifiers'
        views, see inference/ensemble/classification.py.
      split: "test" for a submission, "out_of_fold" for probability maps of the
        labelled images.
      postprocess: spec, see inference/masks/postprocess.py; only for the test split.
      thresholds: file of inference.tune that replaces `postprocess`, or None.
      outputs: some of OUTPUTS; "csv" is always written.
      engine: runs the networks.
      batch_size: images in a batch; does not change the submission.
      num_workers: processes that convert `source`; does not change the submission.
      require_gpu: whether to stop if no GPU is used.
    """

    data: tuple[pathlib.Path, ...]
    source: pathlib.Path | None
    members: tuple[pathlib.Path, ...]
    classifiers: tuple[pathlib.Path, ...]
    weights: str
    output: pathlib.Path
    tta: tuple[str, ...]
    classifier_tta: tuple[str, ...]
    classifier_random_views: int
    split: str
    postprocess: str
    thresholds: pathlib.Path | None
    outputs: tuple[str, ...]
    engine: Engine
    batch_size: int
    num_workers: int
    require_gpu: bool

    def __post_init__(self):
        runs = [str(m) for m in (*self.members, *self.classifiers)]
        if not runs or len(set(runs)) != len(runs):
            raise ConfigError(
                "Expected one or more different run folders. Received: "
                f"members={[str(m) for m in self.members]}, "
                f"classifiers={[str(m) for m in self.classifiers]}"
            )
        if bool(self.data) == bool(self.source):
            raise ConfigError(
                "Expected either --data or --source. Received: "
                f"data={','.join(map(str, self.data))}, source={self.source}"
            )
        if self.source and self.split != "test":
            raise ConfigError(
                "Expected --split=test, for the files of --source have no labels. "
                f"Received: split={self.split}"
            )
        if self.source and self.output.resolve().is_relative_to(self.source.resolve()):
            raise ConfigError(
                "Expected an output outside of the source. Received: "
                f"output={self.output}, source={self.source}"
            )
        unknown = sorted(set(self.outputs) - set(OUTPUTS))
        if unknown:
            raise ConfigError(
                f"Expected of {','.join(OUTPUTS)}. Received: outputs={unknown[0]}"
            )
        pictured = sorted({"masks", "overlays", "report"} & set(self.outputs))
        if pictured and (self.split != "test" or not self.members):
            raise ConfigError(
                "Expected --members and --split=test, where there are to be masks. "
                f"Received: outputs={pictured[0]}"
            )

    @property
    def keeps_maps(self) -> bool:
        """Whether the prediction keeps probability maps."""
        wanted = self.split == "out_of_fold" or "probabilities" in self.outputs
        return wanted and bool(self.members)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One evaluation of a submission.

    Attributes:
      submission: csv of the predicted masks.
      truth: csv of the true masks, with one or several rows per image.
      rows: "one" refuses several predicted rows of an image, "merge" takes their
        union.
      ids: file of the image ids to score, or None for all.
      probabilities: csv of ImageId,Probability, or None.
      subgroups: csv of ImageId and a column for each grouping, or None.
      data: dataset folder with the images, for their sizes, patients and pictures; or
        None.
      output: folder to write.
      mask_size: side of the masks, in pixels, if there is no dataset.
      num_pictures: number of images on the sheet, and of cases in the report.
      bootstrap_samples: number of samples for the intervals.
      seed: seed of the samples.
    """

    submission: pathlib.Path
    truth: pathlib.Path
    rows: str
    ids: pathlib.Path | None
    probabilities: pathlib.Path | None
    subgroups: pathlib.Path | None
    data: pathlib.Path | None
    output: pathlib.Path
    mask_size: int
    num_pictures: int
    bootstrap_samples: int
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoteConfig:
    """One majority vote of several submissions.

    Attributes:
      submissions: two or more csvs of one row per image.
      output: csv to write.
      data: dataset folder with the test images of the masks, or None.
      mask_size: side of the masks, in pixels, if there is no dataset.
    """

    submissions: tuple[pathlib.Path, ...]
    output: pathlib.Path
    data: pathlib.Path | None
    mask_size: int

    def __post_init__(self):
        _check_csvs("submissions", self.submissions, self.output)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """One mean of several classifications.

    Attributes:
      probability_csvs: two or more csvs of one probability per image.
      output: csv to write.
    """

    probability_csvs: tuple[pathlib.Path, ...]
    output: pathlib.Path

    def __post_init__(self):
        _check_csvs("probability_csvs", self.probability_csvs, self.output)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """One search for the best post-processing.

    Attributes:
      predictions: folder with probability maps of labelled images.
      truth: csv of the true masks, with one or several rows per image.
      output: folder to write.
      tops: probabilities of evidence to try.
      min_areas: minimum areas of evidence to try, in pixels at 1024; 0 is none.
      bottoms: probabilities of the mask to try.
      gates: classifier's probabilities to try, if the maps have any; "no gate" is
        always tried.
      num_workers: number of threads; does not change the result.
    """

    predictions: pathlib.Path
    truth: pathlib.Path
    output: pathlib.Path
    tops: tuple[float, ...]
    min_areas: tuple[float, ...]
    bottoms: tuple[float, ...]
    gates: tuple[float, ...]
    num_workers: int

    def __post_init__(self):
        _check_values("tops", self.tops)
        _check_values("bottoms", self.bottoms)
        _check_values("gates", self.gates)
        _check_values(
            "min_areas", self.min_areas, most=reference_area.AREA_PX, with_0=True
        )
        if not self.tops or not self.min_areas or not self.bottoms:
            raise ConfigError(
                "Expected a value or more each. Received: "
                f"tops={_listed(self.tops)}, min_areas={_listed(self.min_areas)}, "
                f"bottoms={_listed(self.bottoms)}"
            )
        if min(self.bottoms) > max(self.tops):
            raise ConfigError(
                "Expected a bottom that is at most a top. Received: "
                f"tops={_listed(self.tops)}, bottoms={_listed(self.bottoms)}"
            )


def _check_values(
    name: str, values: tuple[float, ...], *, most: float = 1, with_0: bool = False
) -> None:
    for value in values:
        # Also rejects NaN.
        if not (0 < value <= most or (with_0 and value == 0)):
            low = "0 <=" if with_0 else "0 <"
            raise ConfigError(
                f"Expected {low} value <= {most:g}. Received: {name}={value:g}"
            )
    if len(set(values)) != len(values):
        raise ConfigError(
            f"Expected different values. Received: {name}={_listed(values)}"
        )


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{v:g}" for v in values)


def _check_csvs(name: str, paths: tuple[pathlib.Path, ...], output) -> None:
    received = f"Received: {name}={','.join(map(str, paths))}"
    if len(paths) < 2 or len(set(paths)) != len(paths):
        raise ConfigError(f"Expected two or more different csvs. {received}")
    if output in paths:
        raise ConfigError(f"Expected an output that is no input. {received}")
