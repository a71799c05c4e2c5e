"""The phases of a plan of made-up films, in a process of its own.

    python -m tests.benchmarks.sides.plan_phases NUM_FILMS

Prints a JSON list of phases.
"""

import contextlib
import hashlib
import json
import logging
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator

from data_prep.build import bad_inputs
from data_prep.build import plan
from data_prep.build import plan_store
from data_prep.build import publishing
from data_prep.build import shard_facts
from data_prep.build import source_inputs
from data_prep.build import work_folder
from data_prep.build.shard_facts import FileFacts
from data_prep.build.shard_facts import ShardFacts
from data_prep.build.source_inputs import SourceInputs
from data_prep.config import ConvertConfig
from data_prep.dataset import rle
from data_prep.source.probe import HeaderFacts
from data_prep.source.source_file import SourceFile

_PHASES = []
_FOLDER = pathlib.Path("/archive/radiology/export")


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Notes what a phase takes; one inside another is noted on its own, too."""
    started = time.process_time()
    yield
    _PHASES.append(
        {
            "name": name,
            "cpu_s": time.process_time() - started,
            "held_mib": _held_mib(),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def phased(module, function: str, name: str) -> None:
    """Notes what a function of a module takes whenever it is called."""
    original = getattr(module, function)

    def noted(*args, **kwargs):
        with phase(name):
            return original(*args, **kwargs)

    setattr(module, function, noted)


class Reader:
    """Makes up what headers say; two films are of one patient."""

    def imap_ordered(self, function, items):
        """As `WorkerPool.imap_ordered` does, which keeps the order."""
        del function
        for index, probe in enumerate(items):
            yield (
                probe,
                HeaderFacts(
                    patient_id=_digest("patient", index // 2)[:32],
                    pixels_digest=_digest("pixels", index),
                    is_film=True,
                    burned_in=False,
                    positive=None,
                    num_pixels=2500 * 2048,
                ),
            )


def inputs(num_films: int) -> SourceInputs:
    """Returns made-up images and labels, every second one with a mask."""
    train, rows, names = {}, {}, {}
    for index in range(num_films):
        name = f"p{index // 1000:05}/1.2.276.0.7230010.3.1.4.{index:012}.dcm"
        path = pathlib.Path(f"{_FOLDER}/{name}")
        train[path.stem] = SourceFile(path=path, kind="dicom")
        runs = " ".join(str(index % 977 + 20 * k) for k in range(1, 41))
        rows[path.stem] = [runs] if index % 2 else [rle.EMPTY]
        names[path.stem] = name
    return SourceInputs(
        train=train,
        test={},
        rows=rows,
        masks={},
        labels={},
        patients={},
        folds={},
        names=names,
        labels_without_image=(),
    )


def publish(config: ConvertConfig, planned: plan.Plan) -> None:
    """Publishes shards that nobody has written."""
    claimed = work_folder.claim_digest(config)
    for shard in planned.shards:
        ids = [task.image_id for task in shard.tasks]
        facts = ShardFacts(
            sources={i: _digest("source", i) for i in ids},
            pixels={i: _digest("look", i) for i in ids},
            looks={i: _digest("picture", i) for i in ids},
            rejected={},
            notices={},
            files={
                size: FileFacts(
                    num_records=len(ids), num_bytes=1, sha256="", sums=(1, 1)
                )
                for size in config.sizes
            },
        )
        shard_facts.write(config, shard.name, facts, claim=claimed)
    with phase("reading the facts of shards"):
        found = {s.name: shard_facts.read(config, s.name) for s in planned.shards}
    with phase("publishing"):
        publishing.publish(config, planned, found, "")


def main() -> None:
    logging.disable()
    num_films = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        config = ConvertConfig(
            source=_FOLDER,
            rle_csv=_FOLDER / "labels.csv",
            output=pathlib.Path(folder, "data"),
            num_workers=1,
        )
        for size in config.sizes:
            (config.output / str(size)).mkdir(parents=True)
        made_up = [inputs(num_films)]
        # Given away, as a conversion does not keep it either.
        source_inputs.find = lambda *_: made_up.pop()
        with phase("names and labels of all films"):
            pass
        phased(plan.header_pass, "read", "header pass")
        phased(plan.folds, "assign", "folds")
        phased(plan, "_deal", "dealing")
        with phase("plan as a whole"):
            planned = plan.make(config, Reader(), bad_inputs.none_yet(config))
        with phase("fingerprint"):
            plan.fingerprint(planned.shards)
        with phase("storing"):
            plan_store.write(config, planned, [], inputs="", listing="")
        del planned
        with phase("reading it back"):
            head = plan_store.read_head(config)
            planned = plan_store.read(config, head).plan
        publish(config, planned)
    print(json.dumps(_PHASES))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _held_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


if __name__ == "__main__":
    main()
