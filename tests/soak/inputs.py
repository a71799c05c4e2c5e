"""Mutated films and csvs: none costs a worker, hangs, or passes damaged in silence."""

import pathlib
import random
import re
import tempfile

from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import InputError
from data_prep.labels import rle_csv
from tests.mutation import mutants
from tests.soak.trials import OK

# Films, and csvs, of one trial.
FILMS, CSVS = 1000, 200
_LIMITS = workers.Limits(memory_bytes=512 << 20, seconds=30)
_OUR_FAULTS = ("DCM_TIMEOUT", "DCM_DECODER_CRASH")
_CSV = (
    b"ImageId, EncodedPixels\n"
    b"1.2.276.0.1, 7 3 20 5 100 2\n"
    b"1.2.276.0.2, -1\n"
    b'"1.2.276.0.3","1 1"\n'
    b"ID_a0b1,-1\r\n"
    b"ID_a0b2,5 10 20 30\n"
)


def films(number: int) -> str:
    """Reads FILMS mutants of DICOM, PNG and JPEG files, in a worker."""
    indices = range(number * FILMS, (number + 1) * FILMS)
    bad = []
    with workers.WorkerPool(mutants.try_mutant, num_workers=2, limits=_LIMITS) as pool:
        chosen = (mutants.Mutant(index) for index in indices)
        for mutant, found in pool.imap_ordered(mutants.try_mutant, chosen):
            result = found.code if isinstance(found, InputError) else found.result
            cut = mutant.mutation == "cut" and result == mutants.OTHER
            if result in (*_OUR_FAULTS, mutants.SILENT) or cut:
                bad.append(f"mutant {mutant.index}: {result}")
    return "; ".join(bad) or OK


def csvs(number: int) -> str:
    """Reads CSVS mutants of a csv of masks: rows, or one line that says what is bad."""
    draw = random.Random(f"csvs {number}")
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rle.csv")
        for index in range(CSVS):
            path.write_bytes(_mutated(draw))
            try:
                rows = rle_csv.read(path)
            except (CommandError, ConfigError) as e:
                if "\n" in str(e) or not str(e).isprintable():
                    bad.append(f"csv {index}: a reason that breaks a line")
                continue
            except Exception as e:  # noqa: BLE001 - what is looked for
                bad.append(f"csv {index}: {type(e).__name__} {e}")
                continue
            if not all(rle_csv.ID.fullmatch(name) for name in rows):
                bad.append(f"csv {index}: an id that is none")
    return "; ".join(bad) or OK


def _mutated(draw: random.Random) -> bytes:
    data = bytearray(_CSV)
    for _ in range(draw.randint(1, 3)):
        kind = draw.randrange(6)
        place = draw.randrange(len(data) + 1)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[place:place] = draw.randbytes(draw.randint(1, 4))
        elif kind == 2:
            del data[place : place + draw.randint(1, 20)]
        elif kind == 3:
            data[place:place] = draw.choice([b"\0", b'"', b"\xff\xfe", b"9" * 5000])
        elif kind == 4:
            numbers = list(re.finditer(rb"\d+", bytes(data)))
            if numbers:
                start, stop = draw.choice(numbers).span()
                data[start:stop] = draw.choice([b"0", b"-5", b"1e9", b"9" * 30, b"nan"])
        else:
            data += data[place:]
    return bytes(data)
