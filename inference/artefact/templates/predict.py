"""Predicts PNG and JPEG files by the model beside this program.

    python predict.py FILE ... [--csv=predictions.csv] [--masks=FOLDER]

Needs TensorFlow and numpy alone. Before it loads the model, it compares each file of
the artefact with its sha256 in artefact.json, and refuses one that was changed. The csv
has a row for each file: name, probability of a pneumothorax, area of the mask in
pixels, guard score, whether the film is unlike the training films, and what is wrong
with a file that cannot be read. Not a medical device: see README.md.
"""

import argparse
import csv
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS = ("name", "probability", "area", "guard", "unlike", "error")


def sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def changed_files(folder):
    """Returns what is not as it was exported, by artefact.json's own hash, too."""
    record = json.loads((folder / "artefact.json").read_text(encoding="utf-8"))
    own = record.pop("sha256", None)
    text = json.dumps(record, indent=2, allow_nan=False)
    changed = []
    if hashlib.sha256(text.encode()).hexdigest() != own:
        changed.append("artefact.json")
    files = record.get("files", {})
    for name, expected in files.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            changed.append(name)
    found = (p for p in (folder / "1").rglob("*") if p.is_file())
    names = (p.relative_to(folder).as_posix() for p in found)
    return changed + sorted(set(names) - files.keys())


def safe(text):
    """Returns a text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def rows_and_masks(predict, paths):
    """Yields a csv row and a mask, or None, for each file; reads a few at a time."""
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as e:
            row = dict.fromkeys(COLUMNS, "")
            yield row | {"name": safe(str(path)), "error": e.strerror}, None
            continue
        found = {name: value.numpy()[0] for name, value in predict([data]).items()}
        error = found["error"].decode()
        row = {"name": safe(str(path)), "error": error}
        if error:
            yield dict.fromkeys(COLUMNS, "") | row, None
            continue
        row["probability"] = f"{found['probability']:.5f}"
        row["area"] = int(found["mask"].sum())
        row["guard"] = f"{found['guard']:.5g}"
        row["unlike"] = int(found["unlike"])
        yield row, found["mask"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path, default="predictions.csv")
    parser.add_argument("--masks", type=pathlib.Path, help="folder for PNG masks")
    args = parser.parse_args()
    if changed := changed_files(HERE):
        sys.exit(f"{HERE / changed[0]} is not what was exported; get the model again")
    # Imported late: a changed model is refused at once.
    import tensorflow as tf

    model = tf.saved_model.load(str(HERE / "1"))
    served = model.signatures["serving_default"]
    bad = 0
    with args.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        results = rows_and_masks(
            lambda data: served(image_bytes=tf.constant(data)), args.files
        )
        for number, (row, mask) in enumerate(results):
            writer.writerow(row)
            bad += bool(row["error"])
            if mask is not None and args.masks:
                args.masks.mkdir(parents=True, exist_ok=True)
                # Files of two folders may have one name.
                name = f"{number:05d}-{args.files[number].stem}.png"
                png = tf.io.encode_png(mask[..., None] * 255)
                tf.io.write_file(str(args.masks / name), png)
    print(f"{args.csv}: {len(args.files)} files, {bad} of them not readable")
    return 3 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
