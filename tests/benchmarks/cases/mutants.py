"""What becomes of damaged files, and which damage no reader could notice.

    python -m tests.benchmarks.cases.mutants [--count=20000] [--workers=2]

Each mutant is a sound file of one encoding, changed by one mutation. It is read in a
worker under the limits of memory and time of a conversion. A mutant that decodes to
other pixels must have been valid on its own terms (tests/mutation); the second
table lists all of these, with the reason why no reader can refuse them. Mutants whose
encoded pixels are untouched and whose header became another valid one stand apart.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.core import workers
from data_prep.core.errors import InputError
from tests.benchmarks.harness import findings
from tests.benchmarks.harness import timing
from tests.mutation import mutants
from tests.mutation import seeds

LIMITS = workers.Limits(memory_bytes=512 << 20, seconds=30)
_REFUSED = "refused"
_PIXELS, _AROUND = "encoded pixels", "header or container"

Tried = tuple[mutants.Mutant, mutants.Outcome]


def run(indices: Iterable[int], *, num_workers: int) -> Iterator[Tried]:
    """Yields every mutant with what became of it, in order.

    A worker that crashes or takes too long is an outcome, too: its code says so.
    """
    chosen = (mutants.Mutant(index) for index in indices)
    with workers.WorkerPool(
        mutants.try_mutant, num_workers=num_workers, limits=LIMITS
    ) as pool:
        for mutant, found in pool.imap_ordered(mutants.try_mutant, chosen):
            if isinstance(found, InputError):
                found = mutants.Outcome(result=found.code, hit=True)
            yield mutant, found


def tables(tried: list[Tried]) -> str:
    """Returns the tables as Markdown."""
    return "\n\n".join([_by_seed(tried), _passing(tried), _codes(tried)])


def _by_seed(tried: list[Tried]) -> str:
    kept = (mutants.EQUAL, mutants.OTHER, mutants.SILENT)
    counts = Counter(
        (m.seed.name, o.result if o.result in kept else _REFUSED) for m, o in tried
    )
    header = ("encoding", "mutants", _REFUSED, *kept)
    rows = []
    for name in seeds.seeds():
        row = [counts[name, result] for result in header[2:]]
        rows.append((name, sum(row), *row))
    return timing.markdown(header, rows)


def _passing(tried: list[Tried]) -> str:
    counts = Counter(
        (m.seed.name, _PIXELS if o.hit else _AROUND, m.mutation)
        for m, o in tried
        if o.result == mutants.OTHER
    )
    rows = []
    for (name, where, kind), count in sorted(counts.items()):
        reason = seeds.REASONS[seeds.seeds()[name].codec]
        if where == _AROUND:
            reason = "an element became another valid one"
        rows.append((name, where, kind, count, reason))
    header = ("encoding", "changed", "mutation", "other pixels", "why it is valid")
    return timing.markdown(header, rows)


def _codes(tried: list[Tried]) -> str:
    counts = Counter(o.result for _, o in tried)
    return timing.markdown(("outcome", "mutants"), counts.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    tried = list(run(range(args.count), num_workers=args.workers))
    silent = [m for m, o in tried if o.result == mutants.SILENT]
    print(tables(tried))
    verdict = findings.MISSED if silent else findings.MET
    print(f"\nsilent damage: {len(silent)} of {len(tried)}, goal 0: {verdict}")
    for mutant in silent[:50]:
        print(f"  mutant {mutant.index}: {mutant.seed.name}, {mutant.mutation}")
    print(timing.as_json({"mutants": len(tried), "silent": [m.index for m in silent]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
