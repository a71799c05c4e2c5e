"""The inspection as one self-contained HTML page: tables, curves, contact sheet."""

import html
import pathlib

import cv2
import numpy as np

from data_prep.core import charts
from data_prep.core import durable
from data_prep.core import web_page
from data_prep.dataset import schema
from data_prep.view import contact_sheet
from data_prep.view import inspection
from data_prep.view.inspection import Inspection

PAGE = "index.html"
SHEET = "contact_sheet.png"
_PICTURE_PX = 256
_AREA_EDGES = (0, 250, 500, 1000, 2048, 4096, 8192, 16384, 32768, 65536, 1 << 20)
_LABELS = {1: "positive", 0: "negative", schema.UNKNOWN_LABEL: "unknown"}


def write(folder: pathlib.Path, output: pathlib.Path, num_pictures: int) -> Inspection:
    """Inspects a dataset folder and writes the page and the contact sheet."""
    found = inspection.inspect(folder)
    tiles = _tiles(folder, found, num_pictures)
    with durable.atomic_write(output / SHEET) as aside:
        aside.write_bytes(_png(contact_sheet.draw(tiles)))
    durable.write_text(output / PAGE, _page(found, tiles))
    return found


def _tiles(folder: pathlib.Path, found: Inspection, num_pictures: int) -> list[tuple]:
    """Returns (image, mask, caption) of the chosen records, as chosen."""
    chosen = inspection.choose(found.images, num_pictures)
    places = {image.image_id: k for k, image in enumerate(chosen)}
    tiles = {}
    for record in inspection.records(folder, found.data):
        if record.image_id not in places:
            continue
        image = chosen[places[record.image_id]]
        mask = np.zeros((found.data.image_size,) * 2, np.uint8)
        if record.mask_bits is not None:
            mask = schema.unpack_mask(record.mask_bits, found.data.image_size)
        where = "test" if image.fold < 0 else f"fold {image.fold}"
        what = f"{image.area:.0f} px" if image.label == 1 else _LABELS[image.label]
        tiles[places[record.image_id]] = (
            inspection.pixels(record, found.data),
            mask,
            f"{where}, {what}",
        )
    return [tiles[k] for k in sorted(tiles)]


def _page(found: Inspection, tiles: list[tuple]) -> str:
    data = found.data
    areas = np.array([i.area for i in found.images if i.label == 1])
    counts, _ = np.histogram(areas, bins=_AREA_EDGES)
    names = [f"{a:,}" for a in _AREA_EDGES[:-1]]
    intensity = found.histogram.reshape(64, 4).sum(axis=1)
    options = [(k, str(v)) for k, v in sorted(data.options.items())]
    bad = [(code, str(n)) for code, n in found.quarantined.items()] or [("none", "0")]
    parts = [
        f"<h1>Dataset at {data.image_size} pixels</h1>",
        f"<p>{len(found.images):,} images in {len(data.shards)} files.</p>",
        "<h2>Images and patients</h2>",
        web_page.table(
            ("", "positive", "negative", "unknown", "patients"), _folds(found)
        ),
        "<h2>Pictures</h2>",
        f'<div class="pictures">{"".join(map(_picture, tiles))}</div>',
        "<h2>Area of the masks</h2>",
        f"<p>In pixels of an image of 1024 x 1024; {_quantiles(areas)}.</p>",
        charts.bars(counts, names, "smallest area in the bin"),
        "<h2>Intensity</h2>",
        (
            f"<p>Training images: mean {data.mean:.1f}, standard deviation "
            f"{data.std:.1f} of 255.</p>"
        ),
        charts.bars(intensity, [str(4 * k) for k in range(64)], "intensity", every=8),
        "<h2>Quarantined inputs</h2>",
        web_page.table(("code", "inputs"), bad),
        "<h2>Options</h2>",
        web_page.table(("option", "value"), options),
    ]
    title = f"Dataset at {data.image_size} pixels"
    return web_page.document(title, "".join(parts))


def _picture(tile: tuple[np.ndarray, np.ndarray, str]) -> str:
    image, mask, caption = tile
    drawn = contact_sheet.outlined(image, mask, _PICTURE_PX)
    alt = f"X-ray with the outline of its mask: {caption}"
    return (
        f"<figure>{web_page.image(drawn, alt)}"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def _folds(found: Inspection) -> list[tuple[str, ...]]:
    rows = []
    for fold, counted in found.counts().items():
        name = "test" if fold < 0 else f"fold {fold}"
        numbers = [*(counted[label] for label in _LABELS), found.patients[fold]]
        rows.append((name, *(f"{n:,}" for n in numbers)))
    return rows


def _quantiles(areas: np.ndarray) -> str:
    if not areas.size:
        return "there is no positive"
    low, middle, high = np.percentile(areas, [5, 50, 95])
    return (
        f"median {middle:,.0f}, 5 % below {low:,.0f}, 5 % above {high:,.0f}, "
        f"{int((areas == 0).sum())} vanished when shrunk"
    )
