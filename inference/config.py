"""Configurations of the inference commands. Imports neither TensorFlow nor absl."""

import dataclasses
import pathlib
from typing import Annotated
from typing import Literal

from data_prep.config import ConvertConfig
from data_prep.config import Placement
from data_prep.core import remote
from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range
from data_prep.core.ranges import check_ranges
from data_prep.dataset import reference_area
from trainer.validation import rules

OUTPUTS = ("csv", "masks", "overlays", "probabilities", "report", "dicom_seg")
# All others show masks, and so need segmenters and the test split.
_WITHOUT_MASKS = {"csv", "probabilities"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """Library that runs the networks.

    Attributes:
      name: "openvino" is faster on a CPU and is an optional dependency; "auto" takes
        it where it can, see inference/prediction/automatic_engine.py.
      precision: number format of OpenVINO; TensorFlow uses each member's own.
    """

    name: Literal["tensorflow", "openvino", "auto"] = "tensorflow"
    precision: Literal["f32", "bf16"] = "f32"

    def __post_init__(self):
        if self.name != "openvino" and self.precision != "f32":
            raise ConfigError(
                "Expected --engine=openvino, whose precision this is. Received: "
                f"engine={self.name}, openvino_precision={self.precision}"
            )

    def __str__(self) -> str:
        return self.name + f" {self.precision}" * (self.name == "openvino")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Prediction of a dataset or of a folder of images.

    Attributes:
      data: dataset folders, one for each size that a member was trained at, or the
        folder that contains them.
      source: folder of DICOM or PNG files to predict instead of `data`, or None.
      members: run folders of segmenters, whose mean is predicted.
      classifiers: run folders of classifiers; an image is segmented only if their
        probability reaches the gate in `postprocess`.
      weights: which weights of each run folder to load.
      output: folder to write.
      tta: views of each image that are averaged, see inference/ensemble/tta.py.
      classifier_tta: views of each image that the classifiers average.
      classifier_random_views: number of random variations of each classifier view,
        see inference/ensemble/classification.py.
      split: "test" for a submission, "out_of_fold" for probability maps of the
        labelled images.
      postprocess: spec for the test split, see inference/masks/postprocess.py.
      thresholds: file that inference.tune wrote and that replaces `postprocess`, or
        None.
      outputs: items of OUTPUTS; "csv" is always written, "dicom_seg" needs `source`.
      engine: library that runs the networks.
      predict_precision: number format of TensorFlow's networks; "trained" is each
        member's own, "float32" is without TF32, and "bfloat16" and "float16" keep the
        weights in float32, as in mixed precision.
      batch_size: maximum number of images in a batch of a device; it changes the
        submission by rounding at most.
      id_from: what the ids of the images of `source` are made of, see ConvertConfig.
      num_workers: number of processes that convert `source`, of each task on a
        cluster; it does not change the submission.
      require_gpu: whether the command fails where no GPU is used.
      placement: where the work runs.
      guard_quantile: share of films like those of the members' training that is not
        marked as unlike them; 0 compares none.
      on_unlike: what becomes of marked films: "warn" lists them, "quarantine" leaves
        them out, too.
      guard: run folder with a variational branch whose reconstruction is a further
        sign of unlike films, or None.
    """

    data: tuple[pathlib.Path, ...]
    source: pathlib.Path | None
    members: tuple[pathlib.Path, ...] = ()
    classifiers: tuple[pathlib.Path, ...] = ()
    weights: Literal["swa", "ema", "best", "last"] = "swa"
    output: pathlib.Path
    tta: tuple[str, ...] = ("hflip",)
    classifier_tta: tuple[str, ...] = ("hflip",)
    classifier_random_views: Annotated[int, Range(at_least=0)] = 0
    split: Literal["test", "out_of_fold"] = "test"
    postprocess: str = "threshold(0.5)|min_area(2048)"
    thresholds: pathlib.Path | None = None
    outputs: tuple[str, ...] = ("csv",)
    engine: Engine = Engine()
    predict_precision: Literal["trained", "float32", "bfloat16", "float16"] = "trained"
    batch_size: Annotated[int, Range(at_least=1)] = 16
    id_from: Literal["stem", "path", "sop_instance_uid"] = ConvertConfig.id_from
    num_workers: int
    require_gpu: bool
    placement: Placement = Placement()
    guard_quantile: Annotated[float, Range(at_least=0, below=1)] = 0.999
    on_unlike: Literal["warn", "quarantine"] = "warn"
    guard: pathlib.Path | None = None

    def __post_init__(self):
        check_ranges(self)
        _check_guard(self)
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
        if self.source and remote.is_within(self.output, self.source):
            raise ConfigError(
                "Expected an output outside of the source. Received: "
                f"output={self.output}, source={self.source}"
            )
        if self.engine.name == "openvino" and self.predict_precision != "trained":
            raise ConfigError(
                "Expected --engine=tensorflow, whose precision this is, or "
                "--openvino_precision. Received: "
                f"engine={self.engine.name}, predict_precision={self.predict_precision}"
            )
        unknown = sorted(set(self.outputs) - set(OUTPUTS))
        if unknown:
            raise ConfigError(
                f"Expected of {','.join(OUTPUTS)}. Received: outputs={unknown[0]}"
            )
        pictured = sorted(set(self.outputs) - _WITHOUT_MASKS)
        if pictured and (self.split != "test" or not self.members):
            raise ConfigError(
                "Expected --members and --split=test, where there are to be masks. "
                f"Received: outputs={pictured[0]}"
            )
        if "dicom_seg" in self.outputs and not self.source:
            raise ConfigError(
                "Expected --source, whose DICOM files the segmentations name. "
                f"Received: outputs=dicom_seg, data={','.join(map(str, self.data))}"
            )

    @property
    def is_compared(self) -> bool:
        """Whether the first images are predicted in float32, too."""
        return self.predict_precision in ("bfloat16", "float16")

    @property
    def keeps_maps(self) -> bool:
        """Whether probability maps are kept."""
        wanted = self.split == "out_of_fold" or "probabilities" in self.outputs
        return wanted and bool(self.members)


def _check_guard(config: PredictConfig) -> None:
    asked = config.guard or config.on_unlike != "warn"
    if asked and (not config.guard_quantile or config.split != "test"):
        raise ConfigError(
            "Expected --split=test and a --guard_quantile above 0, where films are "
            f"compared. Received: split={config.split}, guard_quantile="
            f"{config.guard_quantile:g}, on_unlike={config.on_unlike}, "
            f"guard={config.guard}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """An ensemble as an artefact that can be served without this project.

    Attributes:
      members: run folders of segmenters, whose mean is predicted.
      classifiers: run folders of classifiers; their mean is an image's probability,
        and the gate in `postprocess` asks for it.
      weights: which weights of each run folder to load.
      more_weights: further weights that a member file keeps.
      output: folder to write; the .zip of a member file.
      format: "savedmodel" starts at the bytes of PNG and JPEG files; "onnx" and
        "openvino" start at grey squares, already shrunk and equalised; "member" packs
        one run, see inference/artefact/member_file.py.
      tta: views of each image that are averaged, see inference/ensemble/tta.py.
      classifier_tta: views of each image that the classifiers average.
      postprocess: spec of the masks, see inference/masks/postprocess.py.
      thresholds: file that inference.tune wrote and that replaces `postprocess`, or
        None.
      guard_quantile: share of films like those of the members' training that is not
        marked as unlike them; 0 for an artefact that compares no films.
    """

    members: tuple[pathlib.Path, ...]
    classifiers: tuple[pathlib.Path, ...] = ()
    weights: Literal["swa", "ema", "best", "last"] = "swa"
    more_weights: tuple[str, ...] = ()
    output: pathlib.Path
    format: Literal["savedmodel", "onnx", "openvino", "member"] = "savedmodel"
    tta: tuple[str, ...] = PredictConfig.tta
    classifier_tta: tuple[str, ...] = PredictConfig.classifier_tta
    postprocess: str = PredictConfig.postprocess
    thresholds: pathlib.Path | None = None
    guard_quantile: Annotated[float, Range(at_least=0, below=1)] = (
        PredictConfig.guard_quantile
    )

    def __post_init__(self):
        check_ranges(self)
        runs = [str(m) for m in (*self.members, *self.classifiers)]
        if not self.members or len(set(runs)) != len(runs):
            raise ConfigError(
                "Expected one or more different run folders of segmenters. Received: "
                f"members={[str(m) for m in self.members]}, "
                f"classifiers={[str(m) for m in self.classifiers]}"
            )
        if remote.is_remote(self.output):
            raise ConfigError(
                "Expected a folder of this machine, which can then be copied. "
                f"Received: output={self.output}"
            )
        self._check_member()

    def _check_member(self) -> None:
        if self.format != "member":
            if self.more_weights:
                raise ConfigError(
                    "Expected --format=member with --more_weights. Received: "
                    f"format={self.format}, more_weights={','.join(self.more_weights)}"
                )
            return
        if len(self.members) != 1:
            raise ConfigError(
                "Expected one run for a member file. Received: "
                f"members={[str(m) for m in self.members]}"
            )
        decided = ("classifiers", "tta", "classifier_tta", "postprocess", "thresholds")
        decided += ("guard_quantile",)
        for name in decided:
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default:
                raise ConfigError(
                    f"Expected no --{name}: a member file holds the run alone. "
                    f"Received: {name}={getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Evaluation of a submission.

    Attributes:
      submission: csv of the predicted masks.
      truth: csv of the true masks; an image may have several rows.
      rows: "one" refuses several predicted rows for an image, "merge" takes their
        union.
      ids: file of the image ids to score, or None for all.
      probabilities: csv of ImageId,Probability before any calibration, or None.
      thresholds: file that inference.tune wrote, whose temperature calibrates
        `probabilities`, or None.
      subgroups: csv of ImageId and one column per grouping, or None.
      data: dataset folder with the images, for their sizes, patients and pictures;
        or None.
      output: folder to write.
      mask_size: side of the masks, in pixels, used without `data`.
      num_pictures: number of images on the sheet and of cases in the report.
      bootstrap_samples: number of samples for the confidence intervals.
      seed: seed of the bootstrap samples.
    """

    submission: pathlib.Path
    truth: pathlib.Path
    rows: Literal["one", "merge"] = "one"
    ids: pathlib.Path | None = None
    probabilities: pathlib.Path | None = None
    thresholds: pathlib.Path | None = None
    subgroups: pathlib.Path | None = None
    data: pathlib.Path | None
    output: pathlib.Path
    mask_size: int
    num_pictures: int
    bootstrap_samples: Annotated[int, Range(at_least=1)] = 2000
    seed: int

    def __post_init__(self):
        check_ranges(self)
        if self.thresholds and not self.probabilities:
            raise ConfigError(
                "Expected --probabilities with --thresholds, whose temperature is for "
                f"them. Received: thresholds={self.thresholds} alone"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoteConfig:
    """Majority vote over several submissions.

    Attributes:
      submissions: two or more csvs with one row per image.
      output: csv to write.
      data: dataset folder with the test images of the masks, or None.
      mask_size: side of the masks, in pixels, used without `data`.
    """

    submissions: tuple[pathlib.Path, ...]
    output: pathlib.Path
    data: pathlib.Path | None
    mask_size: int

    def __post_init__(self):
        _check_csvs("submissions", self.submissions, self.output)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """Mean of several classifications.

    Attributes:
      probability_csvs: two or more csvs with one probability per image.
      output: csv to write.
    """

    probability_csvs: tuple[pathlib.Path, ...]
    output: pathlib.Path

    def __post_init__(self):
        _check_csvs("probability_csvs", self.probability_csvs, self.output)


_Probability = Annotated[float, Range(above=0, at_most=1)]
# In pixels of a mask of 1024 x 1024, which has no more.
_Area = Annotated[float, Range(at_least=0, at_most=reference_area.AREA_PX)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Grid search for the best post-processing.

    Attributes:
      predictions: folder with probability maps of labelled images.
      truth: csv of the true masks; an image may have several rows.
      output: folder to write.
      tops: pixel probabilities to try as the threshold of evidence.
      min_areas: minimum areas of the evidence to try, in pixels of a mask of
        1024 x 1024; 0 means no minimum.
      bottoms: pixel probabilities to try as the threshold of the mask.
      gates: classifier probabilities to try, if the predictions have any; no gate is
        always tried, too.
      num_workers: number of threads; it does not change the outcome.

    The values of a grid are sorted when the configuration is built.
    """

    predictions: pathlib.Path
    truth: pathlib.Path
    output: pathlib.Path
    tops: tuple[_Probability, ...] = rules.TOPS
    min_areas: tuple[_Area, ...] = rules.MIN_AREAS
    bottoms: tuple[_Probability, ...] = rules.BOTTOMS
    gates: tuple[_Probability, ...] = tuple(k / 20 for k in range(1, 20))
    num_workers: int

    def __post_init__(self):
        check_ranges(self)
        for name in ("tops", "bottoms", "gates", "min_areas"):
            values = tuple(sorted(getattr(self, name)))
            if len(set(values)) != len(values):
                raise ConfigError(
                    f"Expected different values. Received: {name}={_listed(values)}"
                )
            # The dataclass is frozen.
            object.__setattr__(self, name, values)
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


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{v:g}" for v in values)


def _check_csvs(name: str, paths: tuple[pathlib.Path, ...], output) -> None:
    received = f"Received: {name}={','.join(map(str, paths))}"
    if len(paths) < 2 or len(set(paths)) != len(paths):
        raise ConfigError(f"Expected two or more different csvs. {received}")
    if output in paths:
        raise ConfigError(f"Expected an output that is no input. {received}")
