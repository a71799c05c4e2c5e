"""The inspection of a dataset as a self-contained HTML page and a contact sheet."""

import pathlib

import numpy as np

from data_prep.core import durable
from data_prep.core import outlines
from data_prep.core import tiles
from data_prep.core import web_page
from data_prep.dataset import schema
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.reading import DatasetReader
from data_prep.view import inspection
from data_prep.view.inspection import Image
from data_prep.view.inspection import Inspection

PAGE = "index.html"
SHEET = "contact_sheet.png"
_PICTURE_PX = 256
_AREA_EDGES = (0, 250, 500, 1000, 2048, 4096, 8192, 16384, 32768, 65536, 1 << 20)
_LABELS = {1: "positive", 0: "negative", schema.UNKNOWN_LABEL: "unknown"}


def write(folder: pathlib.Path, output: pathlib.Path, num_pictures: int) -> Inspection:
    """Inspects a dataset folder and writes the page and the contact sheet.

    Raises:
      CommandError: the folder holds no dataset, or a record is damaged.
    """
    dataset = inspection.inspect(folder)
    chosen = _tiles(folder, dataset, inspection.choose(dataset.images, num_pictures))
    odd = _tiles(folder, dataset, inspection.choose_odd(dataset.images, num_pictures))
    tiles.write_png(output / SHEET, tiles.contact_sheet(chosen))
    durable.write_text(output / PAGE, _page(dataset, chosen, odd))
    return dataset


def _tiles(
    folder: pathlib.Path, dataset: Inspection, images: list[inspection.Image]
) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Returns (image, mask, caption) of the chosen images, in the chosen order."""
    chosen = {i.image_id: i for i in images}
    reader = DatasetReader(folder, dataset.manifest)
    size = dataset.manifest.image_size
    tiles_by_id = {}
    for record in reader.find(chosen):
        image = chosen[record.image_id]
        mask = np.zeros((size, size), np.uint8)
        if record.mask_bits is not None:
            mask = schema.unpack_mask(record.mask_bits, size)
        finding = _finding(image, dataset.manifest)
        caption = ", ".join([_fold_name(image.fold), finding, *image.odd])
        tiles_by_id[image.image_id] = (reader.pixels(record), mask, caption)
    return [tiles_by_id[image_id] for image_id in chosen]


def _finding(image: Image, manifest: Manifest) -> str:
    if image.label == schema.UNKNOWN_LABEL:
        return _LABELS[image.label]
    if not manifest.has_masks:
        return f"{_LABELS[image.label]}, label only"
    return f"{image.area:.0f} px" if image.label == 1 else _LABELS[image.label]


def _page(
    dataset: Inspection,
    chosen: list[tuple[np.ndarray, np.ndarray, str]],
    odd: list[tuple[np.ndarray, np.ndarray, str]],
) -> str:
    areas = np.array([i.area for i in dataset.images if i.label == 1])
    return web_page.template("data_prep.view", "inspect.html.j2").render(
        dataset=dataset,
        manifest=dataset.manifest,
        fold_name=_fold_name,
        pictures=[(_picture(image, mask), caption) for image, mask, caption in chosen],
        odd=[(_picture(image, mask), caption) for image, mask, caption in odd],
        num_odd=sum(bool(i.odd) for i in dataset.images),
        areas={
            "counts": np.histogram(areas, bins=_AREA_EDGES)[0],
            "names": [f"{edge:,}" for edge in _AREA_EDGES[:-1]],
        },
        percentiles={p: np.percentile(areas, p) for p in (5, 50, 95) if areas.size},
        num_vanished=int((areas == 0).sum()),
        intensities=dataset.histogram.reshape(64, 4).sum(axis=1),
    )


def _picture(image: np.ndarray, mask: np.ndarray) -> web_page.Picture:
    return web_page.picture(
        outlines.on_image(image, mask, outlines.TRUTH, side=_PICTURE_PX, thickness=1)
    )


def _fold_name(fold: int) -> str:
    return "test" if fold < 0 else f"fold {fold}"
