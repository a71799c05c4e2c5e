"""Folders of PNG and JPEG films, with masks or rows, converted as a whole."""

import io
import logging

import cv2
import numpy as np
import PIL.Image
import pytest

from data_prep.build import convert
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.pixels import notices
from data_prep.source import quarantine

SIDE = 64
NUM_FILMS = 8


def config_of(output, **options):
    fields = {"source": None, "test_source": None, "sizes": (SIDE,), "num_folds": 2}
    fields |= {"clahe": "none", "max_bad_fraction": 0.9, "num_workers": 1}
    return ConvertConfig(output=output, **(fields | options))


def films(folder):
    """Writes films with a bright frame, whose patients are all different."""
    folder.mkdir()
    for index in range(NUM_FILMS):
        rng = np.random.default_rng(index)
        film = rng.integers(40, 200, (SIDE, SIDE), np.uint8)
        cv2.imwrite(str(folder / f"p{index}.png"), film)
    return folder


def lesion(index):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if index % 2:
        mask[10:40, 30 + index : 36 + index] = 255
    return mask


def masks(folder, change=lambda mask: mask, only=range(NUM_FILMS)):
    folder.mkdir()
    for index in range(NUM_FILMS):
        mask = change(lesion(index)) if index in only else lesion(index)
        cv2.imwrite(str(folder / f"p{index}.png"), mask)
    return folder


def images(output):
    """Returns {image id: [SIDE, SIDE] uint8}."""
    folder = output / str(SIDE)
    found = {}
    for shard in manifest.read(folder).shards:
        for record in map(schema.parse, shards.read(folder / shard.name)):
            flat = np.frombuffer(record.pixels, np.uint8)
            found[record.image_id] = flat.reshape(SIDE, SIDE)
    return found


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        (lambda m: 255 - m, "MASK_INVERTED", "8 of 8 masks that are not empty look"),
        (lambda m: cv2.blur(m, (5, 5)), "MASK_VALUES", "4 of 4 masks that are not e"),
    ],
)
def test_a_set_of_wrong_masks_ends_with_one_line(tmp_path, change, code, what):
    source, wrong = films(tmp_path / "films"), masks(tmp_path / "masks", change)
    config = config_of(tmp_path / "out", source=source, mask_source=wrong)
    for run in (convert.dry_run, convert.convert):
        with pytest.raises(CommandError) as e:
            run(config)
        assert e.value.exit_code == ExitCode.TOO_MANY_BAD
        assert code in str(e.value)
        assert what in str(e.value)
    assert not list((tmp_path / "out").glob("*/*.tfrecord*"))


def test_single_wrong_masks_are_quarantined(tmp_path):
    source = films(tmp_path / "films")
    wrong = masks(tmp_path / "masks", lambda mask: 255 - mask, only=(3, 4))
    config = config_of(tmp_path / "out", source=source, mask_source=wrong)
    assert convert.convert(config) == ExitCode.QUARANTINED
    rows = quarantine.read(tmp_path / "out")
    assert [(row[0].rsplit("/")[-1], row[1]) for row in rows] == [
        ("p3.png", "MASK_INVERTED"),
        ("p4.png", "MASK_INVERTED"),
    ]
    assert len(images(tmp_path / "out")) == NUM_FILMS - 2


def rows_csv(path, encode):
    lines = ["ImageId,EncodedPixels"]
    for index in range(NUM_FILMS):
        lines.append(f"p{index},{encode(lesion(index))}")
    path.write_text("\n".join(lines) + "\n")
    return path


def absolute(mask):
    """Returns the RLE of most other competitions, whose starts count from 1."""
    if not mask.any():
        return rle.EMPTY
    starts, ends = rle.decode_runs(rle.encode(mask), *mask.shape)
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return " ".join(f"{a + 1} {b - a}" for a, b in pairs)


def test_a_csv_of_absolute_starts_ends_with_one_line(tmp_path):
    source = films(tmp_path / "films")
    csv = rows_csv(tmp_path / "rows.csv", absolute)
    config = config_of(tmp_path / "out", source=source, rle_csv=csv)
    with pytest.raises(CommandError, match="RLE_LOOKS_ABSOLUTE: 4 of 4 masks that"):
        convert.convert(config)
    good = rows_csv(tmp_path / "good.csv", rle.encode)
    config = config_of(tmp_path / "good", source=source, rle_csv=good)
    assert convert.convert(config) == ExitCode.DONE


def test_odd_masks_and_turned_films_are_noticed(tmp_path, caplog):
    source, drawn = films(tmp_path / "films"), masks(tmp_path / "masks")
    large = np.zeros((SIDE, SIDE), np.uint8)
    large[5:60, 5:40] = 1
    cv2.imwrite(str(drawn / "p2.png"), large)
    exif = PIL.Image.Exif()
    exif[0x0112] = 3
    film = PIL.Image.open(source / "p5.png")
    film.load()
    film.save(source / "p5.png", exif=exif)
    config = config_of(tmp_path / "out", source=source, mask_source=drawn)
    with caplog.at_level(logging.WARNING):
        assert convert.convert(config) == ExitCode.DONE
    assert notices.read(tmp_path / "out") == [
        ("p2", "MASK_OUTLIER"),
        ("p5", "EXIF_MASK_DIFFERS"),
        ("p5", "EXIF_TURNED"),
    ]
    assert any(
        "MASK_OUTLIER: 1 image(s), the first is p2" in m for m in caplog.messages
    )
    upside_down = cv2.imread(str(source / "p5.png"), cv2.IMREAD_UNCHANGED)[::-1, ::-1]
    np.testing.assert_array_equal(images(tmp_path / "out")["p5"], upside_down)


@pytest.mark.parametrize("voi", ["first", "none", "percentile"])
def test_deep_png_of_few_bits(tmp_path, voi):
    """16-bit files of 12-bit values, as PadChest has them."""
    folder = tmp_path / "pad"
    folder.mkdir()
    ramp = np.tile(np.linspace(0, 4000, SIDE), (SIDE, 1)).astype(np.uint16)
    for index in range(3):
        cv2.imwrite(str(folder / f"p{index}.png"), ramp + index)
    config = config_of(tmp_path / "out", test_source=folder, voi=voi)
    assert convert.convert(config) == ExitCode.DONE
    for image in images(tmp_path / "out").values():
        assert image.max() >= 245
        assert len(np.unique(image)) > 60
        assert (np.diff(image[30].astype(int)) >= 0).all()
    codes = {code for _, code in notices.read(tmp_path / "out")}
    assert codes == (set() if voi == "percentile" else {"FEW_BITS_USED"})


def test_pictures_of_several_and_of_few_levels(tmp_path):
    folder = films(tmp_path / "films")
    film = PIL.Image.open(folder / "p0.png")
    stream = io.BytesIO()
    film.save(stream, format="MPO", save_all=True, append_images=[film])
    (folder / "p0.png").unlink()
    (folder / "p0.jpg").write_bytes(stream.getvalue())
    few = np.tile(np.arange(SIDE, dtype=np.uint8) // 8, (SIDE, 1)) * 30
    cv2.imwrite(str(folder / "p1.png"), few)
    config = config_of(tmp_path / "out", test_source=folder)
    assert convert.convert(config) == ExitCode.QUARANTINED
    assert [row[1] for row in quarantine.read(tmp_path / "out")] == ["IMG_FEW_LEVELS"]
    assert notices.read(tmp_path / "out") == [("p0", "FIRST_PICTURE")]
    assert "p0" in images(tmp_path / "out")
