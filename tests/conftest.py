"""Two logical CPUs, so that mirrored code is tested, and shared small datasets."""

import pathlib

import pytest
import tensorflow as tf

from data_prep import convert
from data_prep import synthetic_folder
from data_prep.config import ConvertConfig
from data_prep.config import SyntheticConfig
from tests import fakes
from trainer.models import registry


def pytest_configure(config):
    # As trainer/runtime.py does, which is too late once a device has been used.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )


@pytest.fixture(autouse=True)
def _tiny_model(monkeypatch):
    """Registers networks that trace in a second."""
    monkeypatch.setitem(registry.MODELS, "tiny", fakes.build_tiny)
    monkeypatch.setitem(registry.MODELS, "encoded", fakes.build_encoded)


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> pathlib.Path:
    """A synthetic folder: 30 + 2 training and 7 test images of 128 px."""
    folder = tmp_path_factory.mktemp("source")
    synthetic_folder.write(
        SyntheticConfig(
            output=folder,
            num_train=30,
            num_test=7,
            positive_fraction=0.4,
            image_size=128,
            seed=3,
            num_workers=2,
        )
    )
    return folder


@pytest.fixture(scope="session")
def convert_config(source, tmp_path_factory) -> ConvertConfig:
    """The conversion of `source` to 32 and 64 px."""
    return ConvertConfig(
        source=source / synthetic_folder.TRAIN_FOLDER,
        rle_csv=source / synthetic_folder.TRAIN_CSV,
        mask_source=None,
        test_source=source / synthetic_folder.TEST_FOLDER,
        output=tmp_path_factory.mktemp("converted") / "data",
        sizes=(32, 64),
        num_folds=3,
        fold_seed=10,
        folds_csv=None,
        group_csv=None,
        source_manifest=None,
        aspect="pad",
        interpolation="area",
        clahe="opencv(clip_limit=2.0, tiles=8)",
        voi="first",
        frame=None,
        modalities=(),
        refuse_burned_in=False,
        dicom_decoder="pydicom",
        pixel_encoding="raw",
        records_per_shard=4,
        group_salt="",
        max_bad_fraction=0.1,
        allow_quarantined=2,
        num_workers=2,
    )


@pytest.fixture(scope="session")
def dataset(convert_config) -> pathlib.Path:
    """The converted folder, with a dataset of 32 and one of 64 px in it."""
    convert.convert(convert_config)
    return convert_config.output
