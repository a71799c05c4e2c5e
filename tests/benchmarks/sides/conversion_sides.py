"""The commands that the conversion benchmark compares."""

import os
import pathlib
import shutil
import sys

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.fixtures.source_files import Source
from tests.benchmarks.harness import equality
from tests.benchmarks.harness import timing

OURS, NATURAL, TFIO, KERNELS = "ours", "natural", "tfio", "kernels"
DALI = "dali"
NUM_WORKERS = 2
_PEERS = "tests.benchmarks.sides"
# tensorflow-io needs its own environment: no TensorFlow after 2.16 loads it.
TFIO_PYTHON = source_files.ROOT / "build" / "tensorflow-io-venv" / "bin" / "python"
# Keeps TensorFlow's start-up warnings out of the report.
_ENV = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def command(
    side: str, source: Source, output: pathlib.Path, sizes: tuple[int, ...]
) -> list[str]:
    """Returns the command line of one side."""
    module = "data_prep.main" if side == OURS else f"{_PEERS}.{side}_conversion"
    more = [f"--num_workers={NUM_WORKERS}", "--num_folds=2"] if side == OURS else []
    return [
        str(TFIO_PYTHON) if side == TFIO else sys.executable,
        "-m",
        module,
        f"--source={source.folder}",
        f"--rle_csv={source.csv}",
        f"--output={output}",
        f"--sizes={','.join(map(str, sizes))}",
        *more,
    ]


def convert(
    side: str, source: Source, output: pathlib.Path, sizes: tuple[int, ...]
) -> timing.Run:
    """Runs one side as a whole process, after deleting its output folder."""
    shutil.rmtree(output, ignore_errors=True)
    return timing.run_process(
        command(side, source, output, sizes), cwd=source_files.ROOT, env=_ENV
    )


def kernels(source: Source, sizes: tuple[int, ...]) -> timing.Run:
    """Runs the bare kernels; the run's `output` is their JSON."""
    return timing.run_process(
        [
            sys.executable,
            "-m",
            f"{_PEERS}.kernels",
            f"--source={source.folder}",
            f"--sizes={','.join(map(str, sizes))}",
        ],
        cwd=source_files.ROOT,
    )


def tfio_works() -> bool:
    """Returns whether tensorflow-io's environment exists and loads it."""
    # tensorflow-io loads its shared library only when a function is first used.
    code = (
        "from tensorflow_io.python.ops import core_ops; core_ops.io_decode_dicom_image"
    )
    return TFIO_PYTHON.exists() and _runs(code, str(TFIO_PYTHON))


def dali_works() -> bool:
    """Returns whether NVIDIA DALI is installed."""
    return _runs("from nvidia.dali import fn")


def _runs(code: str, python: str = sys.executable) -> bool:
    try:
        timing.run_process([python, "-c", code], env=_ENV)
    except RuntimeError:
        return False
    return True


def differences(
    side: str, source: Source, folder: pathlib.Path, sizes: tuple[int, ...]
) -> dict[int, equality.Difference]:
    """Converts with our command and with `side`; returns {size: difference}."""
    for name in (OURS, side):
        convert(name, source, folder / name, sizes)
    return {
        size: equality.compare(
            equality.ours(folder / OURS, size), equality.peer(folder / side, size)
        )
        for size in sizes
    }
