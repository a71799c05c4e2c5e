"""Does the job keep the engine busy? Bulk prediction by OpenVINO against OpenVINO bare.

    python -m tests.benchmarks.cases.engine_job --rounds=7 [--films=256]

One U-Net++ on EfficientNet-B4 at 256 px, no second view, masks of 1024 x 1024, a csv:
the process `python -m inference.main --engine=openvino`, and OpenVINO's own queue on
images in memory, in turn. What a process costs before its first film is measured over
a sixteenth of the films and subtracted. Needs requirements-bench.txt. A goal that is
missed is printed as MISSED. Wants an idle machine.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker
from tests.benchmarks.sides import engine_sides

GOAL = 0.95
NUM_CORES = 2
MODEL, SIZE, BATCH = "uefficientnetpp(encoder=b4)", 256, 16
# Fraction of the films without a mask, as in the competition.
_EMPTY = 0.78
_PACKAGES = ("tensorflow", "keras", "openvino", "numpy")


def prepare(folder: pathlib.Path, model: str, size: int, films: int) -> None:
    """Writes engine files, a member, and datasets of `films` and `films / 16` films."""
    # Imported here, because the process that times the sides does not need Keras.
    import keras
    import numpy as np

    from data_prep.dataset import manifest
    from tests.benchmarks.fixtures import bulk_job
    from tests.benchmarks.fixtures import engine_files
    from trainer.run.run_folder import RunFolder

    images = np.concatenate(
        [engine_files.images(size, BATCH) for _ in range(films // BATCH)]
    )
    for name, count in (("all", films), ("few", films // 16)):
        bulk_job.write_films(folder / name, images[:count])
    engine_files.write(folder, model, size, BATCH)
    network = engine_files.build(model, size)
    logits = network.predict(images[:BATCH].astype(np.float32), verbose=0)["mask"]
    # Most images shall have no pixel above 0.5, like real ones.
    peaks = logits.reshape(BATCH, -1).max(axis=1)
    bias = network.layers[-1].bias
    bias.assign(bias - keras.ops.cast(np.quantile(peaks, _EMPTY), bias.dtype))
    run = RunFolder(folder / "run")
    config = {"model": model, "precision": "float32", "fold": 0}
    run.claim(config, manifest.read(folder / "all"), "")
    run.save_weights(network, "swa")
    run.finish({}, {}, 0.0)


def job(folder: pathlib.Path, films: str, precision: str) -> timing.Run:
    """Predicts the dataset called `films` in a separate process."""
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "inference.main", f"--data={folder / films}"]
    command += [f"--members={folder / 'run'}", f"--output={output}", "--tta=none"]
    command += ["--engine=openvino", f"--openvino_precision={precision}"]
    return timing.run_process(command, cwd=source_files.ROOT)


def measure(folder, model: str, size: int, films: int, precision: str, rounds: int):
    """Returns {side: films per second in each round}."""
    side = {"f32": engine_sides.OV_F32, "bf16": engine_sides.OV_BF16}[precision]
    arguments = [side, str(folder), model, str(size), str(NUM_CORES)]
    bare = worker.Worker("tests.benchmarks.sides.engine_sides", arguments)
    bare.calibrate(4.0)
    rates: dict[str, list[float]] = {"job": [], "bare": [], "job with start": []}
    for index in range(rounds):
        few, whole = (job(folder, name, precision) for name in ("few", "all"))
        alone = bare.run()
        rates["bare"].append(BATCH * bare.repeats / alone.wall_s)
        rates["job"].append((films - films // 16) / (whole.wall_s - few.wall_s))
        rates["job with start"].append(films / whole.wall_s)
        timing.say(f"round {index + 1} of {rounds}: {[r[-1] for r in rates.values()]}")
    bare.close()
    return rates


def report(rates, precision: str) -> None:
    """Prints the measurements as Markdown."""
    rows = []
    for name in ("job", "job with start"):
        ratio = timing.per_round(lambda a, b: a / b, rates[name], rates["bare"])
        judged = name == "job"
        rows.append(
            (
                f"{name}, {precision}",
                timing.Spread.of(rates[name]),
                timing.Spread.of(rates["bare"]),
                ratio,
                f">= {GOAL}" if judged else "",
                timing.verdict(ratio.median, GOAL) if judged else "",
            )
        )
    header = ("side", "films/s", "bare OpenVINO, films/s", "ratio, wall")
    print(timing.markdown((*header, "goal", "by wall"), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--films", type=int, default=256)
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--prepare", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prepare:
        folder, model, size, films = args.prepare
        prepare(pathlib.Path(folder), model, int(size), int(films))
        return
    rounds, films, model, size = args.rounds, args.films, MODEL, SIZE
    if args.quick:
        rounds, films, model, size = 1, 64, "uefficientnetpp(encoder=b0)", 64
    timing.pin(NUM_CORES)
    print(timing.markdown(("machine", ""), timing.machine(_PACKAGES).items()) + "\n")
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        # A separate process, so that its threads end with it.
        subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "tests.benchmarks.cases.engine_job",
                    "--prepare",
                ),
                *(name, model, str(size), str(films)),
            ],
            cwd=source_files.ROOT,
            check=True,
        )
        rates = measure(pathlib.Path(name), model, size, films, args.precision, rounds)
    report(rates, args.precision)
    print("\n" + timing.as_json({"rates": rates, "precision": args.precision}))


if __name__ == "__main__":
    main()
