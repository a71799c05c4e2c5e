"""Sets up two logical CPUs for tests of MirroredStrategy, and shared small datasets."""

# ruff: noqa: E402 - Keras reads the user's settings when it is first imported, so
# backend.load() has to precede every import of it.

import collections
import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

from trainer.machine import backend

# The commands set it, too. pytest_configure unsets it, so subprocesses set their own.
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_GIVEN_LEVEL = os.environ.get(LOG_LEVEL)
os.environ.setdefault(LOG_LEVEL, "3")
# Tests expect two logical CPUs even on a machine with GPUs, because the exact numbers
# and the tests of MirroredStrategy hold for CPUs. A value that is set already wins.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
backend.load()

import tensorflow as tf

from data_prep.build import convert
from data_prep.config import ConvertConfig
from data_prep.config import SyntheticConfig
from data_prep.core import remote
from data_prep.core import store_errors
from data_prep.phantom import synthetic_folder
from tests import fakes
from tests import object_stores
from trainer.models import registry


def pytest_configure(config):
    # trainer/distributed/runtime.py would set it too late, after a device was used.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    # TensorFlow has already read it.
    if _GIVEN_LEVEL is None:
        del os.environ[LOG_LEVEL]


def pytest_collection_modifyitems(config, items):
    """In a worker of xdist, files come first that have many slow tests.

    A worker gets file after file (`--no-loadscope-reorder`): a long one that is begun
    last would keep one of them busy while the others have nothing to do.
    """
    if hasattr(config, "workerinput"):
        slow = [item.path for item in items if item.get_closest_marker("slow")]
        count = collections.Counter(slow)
        items.sort(key=lambda item: -count[item.path])


@pytest.fixture(autouse=True)
def _tiny_model(monkeypatch):
    """Registers networks that trace in a second."""
    monkeypatch.setitem(registry.MODELS, "tiny", fakes.build_tiny)
    monkeypatch.setitem(registry.MODELS, "encoded", fakes.build_encoded)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Gives copies of remote files a folder of their own, and waits for none."""
    folder = tmp_path / "cache-of-copies"
    monkeypatch.setenv("PNEUMOTHORAX_CACHE", str(folder))
    monkeypatch.setattr(store_errors, "WAITS_S", (0, 0, 0))
    return folder


@pytest.fixture(scope="session")
def _stores():
    before = dict(os.environ)
    os.environ.update(object_stores.ENVIRONMENT)
    with contextlib.ExitStack() as stack:
        # Each is started when a test first asks for it.
        started: dict[str, str] = {"memory": "memory://films"}

        def start(kind: str) -> str:
            if kind not in started:
                started[kind] = stack.enter_context(getattr(object_stores, kind)())
            return started[kind]

        yield start
    for name in object_stores.ENVIRONMENT:
        os.environ.pop(name)
    os.environ.update(before)


@pytest.fixture
def s3(_stores, cache, request):
    """Returns an empty folder of an S3 server on this machine."""
    return remote.parse(f"{_stores('s3')}/{request.node.name}")


@pytest.fixture
def gs(_stores, cache, request):
    """Returns an empty folder of a server with Google's interface on this machine."""
    return remote.parse(f"{_stores('gs')}/{request.node.name}")


@pytest.fixture(params=["memory", "s3", "gs"])
def store(_stores, cache, request):
    """Returns an empty folder of each store."""
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    name = request.node.name.replace("[", "-").replace("]", "")
    return remote.parse(f"{_stores(request.param)}/{name}")


@pytest.fixture
def faulty(cache):
    """Returns the Faults of the store faulty://."""
    with object_stores.faulty() as faults:
        yield faults


# Decodes a file, because some builds can be imported and fail only when used.
_DECODE = """
import tensorflow_io
from tests import dicom_files
data = dicom_files.as_bytes(dicom_files.dataset())
assert tensorflow_io.image.decode_dicom_image(data).shape[1:3] == (24, 24)
"""


@pytest.fixture(scope="session")
def tfio() -> None:
    """Skips a test that needs tensorflow-io if that does not load and decode.

    A separate process tries it, because a build for another TensorFlow may crash the
    process that imports it.
    """
    done = subprocess.run(
        [sys.executable, "-c", _DECODE],
        cwd=pathlib.Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = f"tensorflow-io does not decode here: {lines[-1]}"
        # The environment made for tensorflow-io must run these tests.
        (pytest.fail if os.environ.get("REQUIRE_TENSORFLOW_IO") else pytest.skip)(
            reason
        )


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> pathlib.Path:
    """A synthetic folder with 30 + 2 training and 7 test images of 128 px."""
    folder = tmp_path_factory.mktemp("source")
    synthetic_folder.write(
        SyntheticConfig(
            output=folder,
            num_train=30,
            num_test=7,
            image_size=128,
            seed=3,
            num_workers=2,
        )
    )
    return folder


@pytest.fixture(scope="session")
def convert_config(source, tmp_path_factory) -> ConvertConfig:
    """The config that converts `source` to 32 and 64 px."""
    return ConvertConfig(
        source=source / synthetic_folder.TRAIN_FOLDER,
        rle_csv=source / synthetic_folder.TRAIN_CSV,
        test_source=source / synthetic_folder.TEST_FOLDER,
        output=tmp_path_factory.mktemp("converted") / "data",
        sizes=(32, 64),
        num_folds=3,
        records_per_shard=4,
        max_bad_fraction=0.1,
        allow_quarantined=2,
        num_workers=2,
    )


@pytest.fixture(scope="session")
def dataset(convert_config) -> pathlib.Path:
    """The converted folder, which contains one dataset of 32 px and one of 64 px."""
    convert.convert(convert_config)
    return convert_config.output
