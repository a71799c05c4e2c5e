"""The page on records: its blocks of code read real datasets, as they stand there."""

import dataclasses
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from data_prep.build import convert
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset import tfds_files
from data_prep.dataset.reading import DatasetReader

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "records.md"
FOLDER = '"data/256"'
SPLITS = [
    f"train-fold{k}-{label}" for k in range(3) for label in ("negative", "positive")
]


def block(name: str) -> str:
    """Returns the code of the page that stands under `<!-- name -->`."""
    (code,) = re.findall(
        rf"<!-- {name} -->\n\n```python\n(.*?)```", PAGE.read_text(), re.S
    )
    return code


@pytest.fixture(scope="module", params=["raw", "png"])
def folder(request, dataset, convert_config, tmp_path_factory):
    """A dataset of 32 px whose pixels are stored either way."""
    if request.param == "raw":
        return dataset / "32"
    config = dataclasses.replace(
        convert_config,
        output=tmp_path_factory.mktemp("png") / "data",
        sizes=(32,),
        pixel_encoding="png",
    )
    convert.convert(config)
    return config.output / "32"


def expected(folder):
    """Returns {id: (image, mask or None, label, fold)} as our own reader has them."""
    reader = DatasetReader(folder)
    size = reader.manifest.image_size
    return {
        r.image_id: (
            reader.pixels(r),
            None if r.mask_bits is None else schema.unpack_mask(r.mask_bits, size),
            r.label,
            r.fold,
        )
        for r in reader.records()
    }


def test_tfds(folder):
    import tensorflow_datasets as tfds

    read = {}
    names = {}
    exec(block("tfds").replace(FOLDER, repr(str(folder))), names)  # noqa: S102
    assert sorted(names["builder"].info.splits) == sorted(["test", *SPLITS])
    assert len(names["train"]) == sum(
        names["builder"].info.splits[s].num_examples for s in SPLITS[:2]
    )
    # TFDS takes slices of a split by the lengths of its shards.
    for split in names["builder"].info.splits.values():
        assert split.shard_lengths == [
            sum(1 for _ in shards.read(pathlib.Path(path))) for path in split.filepaths
        ]
    films = names["builder"].as_dataset("all").map(names["unpacked"])
    for film in tfds.as_numpy(films):
        image = film["image"]
        read[image["id"].decode()] = film["image"]["pixels"], film["mask"], film
    truth = expected(folder)
    assert read.keys() == truth.keys()
    assert any(mask is not None and mask.any() for _, mask, _, _ in truth.values())
    for image_id, (image, mask, label, fold) in truth.items():
        pixels, masks, film = read[image_id]
        np.testing.assert_array_equal(pixels[..., 0], image)
        assert masks.dtype == np.uint8
        assert masks.shape == (0 if mask is None else 1, 32, 32)
        if mask is not None:
            np.testing.assert_array_equal(masks[0], mask)
        assert (film["label"], film["fold"]) == (label, fold)


def test_tfrecord_without_tensorflow(folder, tmp_path):
    script = f"""
import sys
sys.modules["tensorflow"] = None
{block("tfrecord")}
read = list(films({str(folder)!r})) + list(films({str(folder)!r}, "test"))
assert "data_prep" not in sys.modules
np.savez(
    {str(tmp_path / "read.npz")!r},
    images=[image for image, _, _ in read],
    masks=[mask for _, mask, _ in read if mask is not None],
    labels=[label for _, _, label in read],
)
"""
    # Isolated, so that neither the current folder nor PYTHONPATH has our packages.
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path)
    read = np.load(tmp_path / "read.npz")
    reader = DatasetReader(folder)
    chosen = sorted(reader.manifest.shards, key=lambda s: (s.split == "test", s.name))
    truth = expected(folder)
    ordered = [truth[r.image_id] for r in reader.records(chosen)]
    np.testing.assert_array_equal(read["images"], [image for image, *_ in ordered])
    assert read["images"].dtype == read["masks"].dtype == np.uint8
    masks = [mask for _, mask, *_ in ordered if mask is not None]
    np.testing.assert_array_equal(read["masks"], masks)
    np.testing.assert_array_equal(read["labels"], [film[2] for film in ordered])


def test_torch_is_python():
    # PyTorch is no requirement of ours.
    compile(block("torch"), "records.md", "exec")


def test_a_finished_output_gets_the_files(convert_config, dataset):
    paths = [
        dataset / size / name
        for size in ("32", "64")
        for name in (tfds_files.FEATURES_FILE, tfds_files.INFO_FILE)
    ]
    others = {p: p.stat().st_mtime_ns for p in dataset.glob("*/*") if p not in paths}
    texts = [path.read_text() for path in paths]
    paths[0].unlink()
    paths[1].unlink()
    paths[3].write_text("{}")
    convert.convert(convert_config)
    assert [path.read_text() for path in paths] == texts
    assert others == {p: p.stat().st_mtime_ns for p in others}
