"""Does the guard tell films of another kind, and leave those of its own alone?

    python -m tests.benchmarks.cases.guard [--films=400] [--size=128] [--model=...]

Trains a network on phantoms, as a user would, and scores phantoms that it has not seen
and made films of other kinds: AUC of each kind against the phantoms, and how many are
marked at 0.999. Then times predictions with and without the guard.
"""

import argparse
import dataclasses
import pathlib
import statistics
import tempfile
import time

import numpy as np
import sklearn.metrics

from data_prep.build import clahe
from data_prep.build import convert
from data_prep.config import ConvertConfig
from data_prep.config import SyntheticConfig
from data_prep.phantom import phantom
from data_prep.phantom import synthetic_folder
from inference.config import Engine
from inference.config import PredictConfig
from inference.ensemble import cascade
from inference.ensemble import members
from inference.ensemble import networks
from inference.ensemble import placement
from inference.ensemble.device_batches import DeviceBatches
from inference.inputs import datasets
from inference.inputs.chunks import ImageChunk
from tests.benchmarks.fixtures import unlike_films
from tests.benchmarks.harness import timing
from trainer import loop
from trainer.config import Execution
from trainer.config import TrainConfig

GOAL_AUC, GOAL_FALSE, GOAL_TIME = 0.95, 0.005, 1.05
QUANTILE = 0.999
_SOURCE_PX = 512
_BATCH = 16
_WITHOUT = "no CLAHE"


def dataset(folder: pathlib.Path, films: int, size: int) -> pathlib.Path:
    """Returns a dataset of phantoms, made as any other."""
    source = folder / "source"
    synthetic_folder.write(
        SyntheticConfig(
            output=source,
            num_train=films,
            num_test=8,
            image_size=_SOURCE_PX,
            seed=1,
            num_workers=2,
        )
    )
    convert.convert(
        ConvertConfig(
            source=source / synthetic_folder.TRAIN_FOLDER,
            rle_csv=source / synthetic_folder.TRAIN_CSV,
            test_source=source / synthetic_folder.TEST_FOLDER,
            output=folder / "data",
            sizes=(size,),
            num_folds=5,
            allow_quarantined=2,
            max_bad_fraction=0.1,
            num_workers=2,
        )
    )
    return folder / "data" / str(size)


def train(folder: pathlib.Path, data: pathlib.Path, model: str, epochs: int):
    """Trains a run; returns its folder."""
    config = TrainConfig(
        model=model,
        seed=1,
        epochs=epochs,
        global_batch_size=8,
        augment="hflip(p=0.5)",
        swa_epochs=1,
    )
    execution = Execution(
        data=data,
        workdir=folder / "run",
        strategy="single",
        steps_per_call=4,
        log_every_steps=50,
        require_gpu=False,
        flagfile="",
    )
    loop.train(config, execution)
    return folder / "run"


def films(seed: int, count: int, size: int, *, kind: str = "") -> np.ndarray:
    """Returns films of a kind, or phantoms, as a dataset has them, [N, S, S, 1]."""
    rng = np.random.default_rng(seed)
    equalize = clahe.parse("none" if kind == _WITHOUT else ConvertConfig.clahe)
    change = unlike_films.KINDS.get(kind, lambda rng, image: image)
    found = []
    for k in range(count):
        drawn = phantom.draw(rng, size=_SOURCE_PX, pneumothorax=k % 4 == 0).image
        image = np.clip(change(rng, drawn), 0, 255).astype(np.uint8)
        small = clahe.resize_image(
            np.ascontiguousarray(image), size, ConvertConfig.interpolation
        )
        found.append(equalize(small))
    return np.stack(found)[..., np.newaxis]


def cascade_of(run: pathlib.Path, data: pathlib.Path, quantile: float):
    """Returns what predicts chunks with a member, and compares them if asked to."""
    loader = members.Loader(
        "swa", datasets.find([data]), Engine(), compares=quantile > 0
    )
    placed = placement.place(loader.load_group([run], []), networks.HOST)
    config = PredictConfig(
        data=(data,),
        source=None,
        members=(run,),
        output=run / "unused",
        num_workers=1,
        require_gpu=False,
        guard_quantile=quantile,
    )
    batches = DeviceBatches("CPU", _BATCH)
    return cascade.build(config, placed, lambda probability: True, batches)


def predicted(predict, data: pathlib.Path, images: np.ndarray):
    """Returns the prediction for some images."""
    count, size = images.shape[:2]
    return predict(
        ImageChunk(
            ids=[str(k) for k in range(count)],
            heights=[size] * count,
            widths=[size] * count,
            pixels={data: images},
        )
    )


def kinds_table(predict, data, size: int, own: int, others: int) -> str:
    """Returns the table of all kinds."""
    like = predicted(predict, data, films(7, own, size)).guard
    false = float(np.mean(np.array(like) > 1))
    rows = [
        ("phantoms held out", own, "", f"{false:.4f}", f"<= {GOAL_FALSE}", "")
        + (timing.verdict(false, GOAL_FALSE, at_most=True),)
    ]
    for kind in (*unlike_films.KINDS, _WITHOUT):
        found = predicted(predict, data, films(11, others, size, kind=kind))
        truth = np.repeat([0, 1], [own, others])
        auc = sklearn.metrics.roc_auc_score(truth, [*like, *found.guard])
        marked = float(np.mean(np.array(found.guard) > 1))
        why = statistics.mode(found.unlike)
        rows.append((kind, others, f"{auc:.4f}", f"{marked:.3f}", f">= {GOAL_AUC}"))
        rows[-1] += (why, timing.verdict(auc, GOAL_AUC))
        timing.say(" ".join(map(str, rows[-1])))
    header = ("films", "count", "AUC", "marked", "goal", "features", "verdict")
    return timing.markdown(header, rows)


def time_table(run, data, size: int, rounds: int) -> str:
    """Returns the table of seconds with and without the guard."""
    images = films(3, 4 * _BATCH, size)
    sides = [cascade_of(run, data, quantile) for quantile in (0.0, QUANTILE)]
    taken: list[list[float]] = [[], []]
    for round_ in range(rounds + 1):
        for side, seconds in zip(sides, taken, strict=True):
            started = time.perf_counter()
            predicted(side, data, images)
            if round_:
                seconds.append(time.perf_counter() - started)
    plain, guarded = (statistics.median(seconds) for seconds in taken)
    each = [f"{1000 * s / len(images):.1f}" for s in (plain, guarded)]
    header = ("predicting", "without, ms a film", "with, ms a film", "ratio", "goal")
    ratio = guarded / plain
    judged = timing.verdict(ratio, GOAL_TIME, at_most=True)
    row = ("original view", *each, f"{ratio:.3f}", f"<= {GOAL_TIME}", judged)
    return timing.markdown((*header, "verdict"), [row])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
      films: phantoms to train and validate on.
      size: side of the images, in pixels.
      epochs: of the training.
      own: phantoms to score.
      others: films to score, of each other kind.
      rounds: of the timing.
    """

    films: int
    size: int
    epochs: int
    own: int
    others: int
    rounds: int


QUICK = Sizes(films=60, size=64, epochs=1, own=60, others=10, rounds=1)


def measure(folder: pathlib.Path, model: str, sizes: Sizes) -> str:
    """Returns the report."""
    data = dataset(folder, sizes.films, sizes.size)
    run = train(folder, data, model, sizes.epochs)
    predict = cascade_of(run, data, QUANTILE)
    tables = [
        kinds_table(predict, data, sizes.size, sizes.own, sizes.others),
        time_table(run, data, sizes.size, sizes.rounds),
    ]
    return "\n\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--own", type=int, default=1000)
    parser.add_argument("--others", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--model", default="uefficientnetpp(encoder=b0, start_filters=4)"
    )
    parser.add_argument("--quick", action="store_true", help="small, means little")
    args = parser.parse_args()
    sizes = QUICK
    if not args.quick:
        given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Sizes)}
        sizes = Sizes(**given)
    machine = timing.machine(("tensorflow", "keras", "numpy"))
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    print(f"{args.model}, {sizes}\n")
    with tempfile.TemporaryDirectory() as folder:
        print(measure(pathlib.Path(folder), args.model, sizes))


if __name__ == "__main__":
    main()
