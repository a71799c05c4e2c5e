"""All flags are listed, presets are valid, and configurations check themselves."""

import pathlib
import re

import pytest
from absl import flags
from absl.testing import flagsaver

from data_prep.build import clahe
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import aspect
from data_prep.pixels import grey
from flags import average as average_flags
from flags import command
from flags import command_line
from flags import crossval as crossval_flags
from flags import data_prep as data_prep_flags
from flags import doctor as doctor_flags
from flags import evaluate as evaluate_flags
from flags import export as export_flags
from flags import inference as inference_flags
from flags import list_models as list_models_flags
from flags import preset
from flags import preview as preview_flags
from flags import synthetic as synthetic_flags
from flags import trainer as trainer_flags
from flags import tune as tune_flags
from flags import vote as vote_flags
from inference.masks import postprocess
from trainer.augment import recipe
from trainer.input import sampling
from trainer.models import model_summary
from trainer.models import registry
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.optim import schedules

PRESETS = sorted(pathlib.Path(__file__).parents[2].glob("flags/presets/*.flagfile"))

# A new flag has to be added here, so that a reviewer asks whether it is needed.
NAMES = """
accumulation allow_open_cluster allow_quarantined aspect augment augment_on
batch_norm_momentum batch_size best_by bootstrap_samples bottoms cache clahe
classifier_random_views classifier_tta classifiers clip_norm cluster data data_service
deterministic dicom_decoder dry_run ema_momentum encoder_weights engine epochs fold
fold_lists fold_seed folds folds_csv format frame frozen_epochs fused gates
global_batch_size gpus_per_member group_csv group_salt guard guard_quantile id_column
id_from ids image_size init_from interpolation jit json label_column label_csv
label_smoothing learning_rate log_every_steps loss mask_size mask_source
max_bad_fraction max_hours members min_areas modalities model more_weights num_devices
num_folds num_images num_pictures num_test num_train num_workers on_unlike
openvino_precision optimizer output outputs part patient_column pixel_encoding plan_only
positive positive_fraction postprocess precision predict_precision predictions preset
probabilities probability_csvs profile_steps readers records_per_shard refuse_burned_in
require_all_images require_gpu rle_csv rows sampling schedule seed seeds sizes source
source_manifest source_size split steps_per_call strategy subgroups submission
submissions swa_epochs swa_update_bn test_source thresholds top_k tops truth tta
uncertain unmentioned view_column views voi weight_decay weights workdir
"""


@pytest.fixture(autouse=True)
def parsed():
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["test"])
        yield


def names():
    by_module = flags.FLAGS.flags_by_module_dict()
    return sorted(
        f.name for m, fs in by_module.items() if m.startswith("flags.") for f in fs
    )


def test_every_flag_is_known():
    assert names() == sorted(NAMES.split())


def test_enums_are_the_tables():
    def values(name):
        return sorted(flags.FLAGS[name].parser.enum_values)

    assert values("optimizer") == sorted(optimizers.OPTIMIZERS)
    assert values("interpolation") == sorted(clahe.INTERPOLATIONS)
    assert values("aspect") == sorted(aspect.ASPECTS)
    assert values("voi") == sorted(grey.VOI)


@pytest.mark.slow
@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_presets(path):
    for line in path.read_text().splitlines():
        assert re.fullmatch(r"(#.*|--\w+=.*|)", line), line
        assert not re.search(r"\s#|\"", line.removeprefix("#")), line
    assert path.read_text().startswith("# "), "a preset says what it is"
    positional = flags.FLAGS(["test", f"--flagfile={path}"])
    assert positional == ["test"]
    config = trainer_flags.train_config()
    recipe.parse(config.augment)
    losses.parse(config.loss)
    sampling.parse(config.sampling)
    schedules.parse(config.schedule)
    preset_file = preset.read(path.stem)
    model = registry.build_from_spec(config.model, image_size=preset_file.size)
    assert preset_file.cost.startswith(f"{model.count_params():,} parameters, ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classifier_xception_nih", "demo", "unet_512"])
def test_the_cost_of_a_preset_is_what_is_counted(name):
    """Three presets only, because counting GFLOP is slow for the others."""
    preset_file = preset.read(name)
    cost = model_summary.cost(preset_file.value("model"), preset_file.size)
    counted = f"{cost.parameters:,} parameters, {cost.gflop:.1f} GFLOP an image"
    assert preset_file.cost == counted


def test_the_seed_recipe_is_the_default():
    """A flag that a preset leaves out keeps the value of the seed solution."""
    config = trainer_flags.train_config()
    assert (config.epochs, config.global_batch_size) == (70, 16)
    assert (config.optimizer, config.learning_rate) == ("adam", 1e-3)
    assert config.augment == "seed_segmentation"


def test_replay():
    with flagsaver.flagsaver():
        flags.FLAGS(["test", "--model=unet(a=1, b=x)", "--noswa_update_bn", "--fold=2"])
        expected = trainer_flags.train_config()
        text = command.as_flagfile(trainer_flags.GROUPS)
    assert "verbosity" not in text
    flags.FLAGS(["test", *text.splitlines()])
    assert trainer_flags.train_config() == expected


@pytest.mark.parametrize(
    "read",
    [
        data_prep_flags.convert_config,
        synthetic_flags.synthetic_config,
        inference_flags.predict_config,
        evaluate_flags.evaluate_config,
        export_flags.export_config,
        preview_flags.preview_config,
        vote_flags.vote_config,
        average_flags.average_config,
        tune_flags.tune_config,
        trainer_flags.execution,
        crossval_flags.cross_validation,
    ],
)
def test_missing_flags_are_named(read):
    with pytest.raises(CommandError, match="--[a-z_]+ is missing; give it") as e:
        read()
    assert e.value.exit_code == ExitCode.FLAGS


def test_models_are_listed_at_their_own_sizes():
    asked = list_models_flags.request()
    assert (asked.image_size, asked.config) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model=unet"], ("unet", None, 1, 16)),
        (["--precision=mixed_float16"], ("uefficientnetpp", None, 1, 16)),
        (["--num_devices=2"], ("uefficientnetpp", None, 2, 16)),
        (["--preset=unet_512"], ("unet", 512, 1, 8)),
        (["--preset=unet_512", "--image_size=64"], ("unet", 64, 1, 8)),
        (["--preset=kaggle_2xt4_256"], ("uefficientnetpp", 256, 2, 32)),
        (
            ["--preset=kaggle_2xt4_256", "--num_devices=4"],
            ("uefficientnetpp", 256, 4, 32),
        ),
    ],
)
def test_a_flag_of_the_training_asks_for_an_estimate(arguments, expected):
    with flagsaver.flagsaver():
        command_line.parse(
            ["test", *arguments], "trainer.list_models", list_models_flags.GROUPS
        )
        asked = list_models_flags.request()
    assert expected == (
        asked.config.model.partition("(")[0],
        asked.image_size,
        asked.num_devices,
        asked.config.global_batch_size,
    )


def test_the_doctor_tests_the_current_folder_and_prints_lines_by_default():
    assert doctor_flags.output() == pathlib.Path()
    assert not doctor_flags.as_json()
    with flagsaver.flagsaver(output="runs", json=True):
        assert doctor_flags.output() == pathlib.Path("runs")
        assert doctor_flags.as_json()


def test_configurations_check_themselves(tmp_path):
    base = ["test", "--source=a", "--rle_csv=b", "--output=c"]
    for extra, message in (
        ("--mask_source=m", "one of --rle_csv, --mask_source and --label_csv"),
        ("--label_csv=m", "one of --rle_csv, --mask_source and --label_csv"),
        ("--views=PA", "Expected --label_csv. Received: views alone"),
        ("--fold_lists=m", "two or more fold_lists"),
        ("--source=", "Expected --source or --test_source"),
        ("--sizes=100", "multiples of 32"),
        ("--sizes=256,256", "different sizes"),
        ("--output=a/b", "outside of the source"),
    ):
        with flagsaver.flagsaver():
            flags.FLAGS([*base, extra])
            with pytest.raises(ValueError, match=message):
                data_prep_flags.convert_config()
    flags.FLAGS([*base, "--sizes=256,big"])
    with pytest.raises(
        CommandError, match="--sizes=256,big has a value that is no integer; write"
    ):
        data_prep_flags.convert_config()
    flags.FLAGS(["test", "--epochs=2", "--swa_epochs=3"])
    with pytest.raises(ValueError, match="swa_epochs of at most epochs"):
        trainer_flags.train_config()
    flags.FLAGS(["test", "--members=a,a", "--data=b", "--output=c"])
    with pytest.raises(ValueError, match="different run folders"):
        inference_flags.predict_config()


def test_csvs_that_are_combined_are_several(tmp_path):
    for extra, message in (
        (["--submissions=a", "--output=b"], "two or more different csvs"),
        (["--submissions=a,a", "--output=b"], "two or more different csvs"),
        (["--submissions=a,b", "--output=b"], "an output that is no input"),
    ):
        flags.FLAGS(["test", *extra])
        with pytest.raises(ValueError, match=message):
            vote_flags.vote_config()
    flags.FLAGS(["test", "--probability_csvs=a", "--output=b"])
    with pytest.raises(ValueError, match="two or more different csvs"):
        average_flags.average_config()


def test_grids_are_checked():
    base = ["test", "--predictions=a", "--truth=b", "--output=c"]
    flags.FLAGS([*base, "--tops=0.9,0.5"])
    assert tune_flags.tune_config().tops == (0.5, 0.9)
    for extra, message in (
        ("--tops=0", "Expected 0 < value <= 1. Received: tops=0"),
        ("--bottoms=nan", "Received: bottoms=nan"),
        ("--gates=1.5", "Received: gates=1.5"),
        ("--min_areas=-1", "Expected 0 <= value <= .* Received: min_areas=-1"),
        ("--min_areas=inf", "Received: min_areas=inf"),
        ("--tops=0.5,0.50", "Expected different values. Received: tops=0.5,0.5"),
        ("--min_areas=", "Expected a value or more"),
        ("--tops=0.2,0.05 --bottoms=0.3", "Expected a bottom that is at most a top"),
    ):
        with flagsaver.flagsaver():
            flags.FLAGS([*base, *extra.split()])
            with pytest.raises(ValueError, match=message):
                tune_flags.tune_config()
    flags.FLAGS([*base, "--gates=high"])
    with pytest.raises(
        CommandError, match="--gates=high has a value that is no number"
    ):
        tune_flags.tune_config()


def test_postprocess_default_is_valid():
    cut = postprocess.parse(flags.FLAGS["postprocess"].default).triplet
    assert (cut.top, cut.bottom) == (0.5, 0.5)
