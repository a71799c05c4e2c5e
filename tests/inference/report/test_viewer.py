"""The viewer in a browser, from the disk, at the width of a phone and of a desktop."""

import time

import numpy as np
import pytest

from inference.report import film_index
from inference.report import film_pictures
from inference.report import prediction_page
from inference.report.film_index import Film
from tests import browser
from tests import browser_session
from tests.inference.report.test_film_index import HOSTILE

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no browser is there")
PHONE, DESKTOP = (360, 740), (1280, 900)
SIZES = pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
PROVENANCE = {"members": ["m"], "tta": ["none"], "classifiers": [], "postprocess": "p"}
SIDE = 64
# Of the films in turn, left and right half.
GREYS = ((100, 140), (60, 180), (120, 121))
CARDS = "document.querySelectorAll('#films-list button')"
LAYERS = "[...document.querySelectorAll('#v-layers img')]"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    profile = tmp_path_factory.mktemp("browser")
    with browser_session.started(profile) as session:
        yield session


def write(folder, films, *, keeps_maps=True):
    """Writes a page with the pictures of its films, all of one of a few kinds."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:32, 8:24] = 1
    heat = film_pictures.heat(np.full((SIDE, SIDE), 1, np.float16))
    of_mask = film_pictures.mask(mask, SIDE)
    kinds = []
    for pair in GREYS:
        image = np.repeat(np.array([pair], np.uint8), SIDE // 2, axis=1)
        image = np.repeat(image, SIDE, axis=0)
        thumb = film_pictures.thumb(image, mask, ratio=1)
        kinds.append((film_pictures.film(image), thumb))
    for kind in ("pictures", "thumbs", "masks", "heat"):
        (folder / "films" / kind).mkdir(parents=True)
    path = folder / "films" / film_index.INDEX
    with film_index.writing(path, keeps_maps=keeps_maps) as add:
        for k, film in enumerate(films):
            picture, thumb = kinds[k % len(kinds)]
            stem = film_index.file_stem(film.id)
            (folder / "films" / "pictures" / f"{stem}.png").write_bytes(picture)
            (folder / "films" / "thumbs" / f"{stem}.jpg").write_bytes(thumb)
            if film.area:
                (folder / "films" / "masks" / f"{stem}.png").write_bytes(of_mask)
            if film.heat:
                (folder / "films" / "heat" / f"{stem}.png").write_bytes(heat)
            add(film)
    page = folder / "report.html"
    rows = {film.id: "-1" for film in films}
    page.write_text(prediction_page.Summary(rows, None).page(PROVENANCE), "utf-8")
    return page


def film(k, **changes):
    fields = {
        **{"id": f"film.{k:03d}", "width": SIDE, "height": SIDE, "ratio": 1},
        **{"area": 256 if k % 2 == 0 else 0, "heat": True, "probability": k / 500},
    }
    return Film(**(fields | changes))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    films = [
        film(k, warnings="unlike" if k % 100 == 7 else None, guard=k % 10 / 5)
        for k in range(500)
    ]
    return write(tmp_path_factory.mktemp("many"), films)


def opened(tab, page, size, film="film.000"):
    """Opens a film large and waits for its picture."""
    tab.open(page, width=size[0], height=size[1], fragment=f"#film={film}")
    tab.wait(f"{LAYERS}.length && {LAYERS}.every((i) => i.complete)")


def box(tab, selector):
    """Returns left, top, width and height of an element in the window."""
    return tab.ask(
        f"(() => {{ const b = document.querySelector({selector!r})"
        ".getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
    )


def text(tab, identity):
    return tab.ask(f"document.getElementById({identity!r}).textContent")


def pixel(tab, x, y):
    """Returns red, green, blue of a point of the film, in shares of its sides."""
    left, top, width, height = box(tab, "#v-layers")
    seen = tab.picture()
    color = seen[round(top + y * height), round(left + x * width)]
    return color[::-1].astype(int).tolist()


def middle(tab):
    left, top, width, height = box(tab, "#v-stage")
    return left + width / 2, top + height / 2


def click(tab, selector):
    left, top, width, height = box(tab, selector)
    tab.drag((left + width / 2, top + height / 2), right=0, down=0)


def asked_for(tab, kind):
    return [url for url in tab.requests if f"/films/{kind}/" in url]


@SIZES
def test_500_films_load_only_what_is_seen(tab, many, size):
    start = time.monotonic()
    tab.open(many, width=size[0], height=size[1])
    tab.wait(f"{CARDS}.length > 0")
    print(f"a list of 500 films after {time.monotonic() - start:.2f} s")
    tab.ask(f"{CARDS}[0].scrollIntoView()")
    tab.wait(f"{CARDS}[0].querySelector('img').naturalWidth > 0")
    tab.settle()
    assert text(tab, "films-count") == "500 of 500 films"
    assert tab.ask(f"{CARDS}.length") <= 120
    # In the window, and 200 pixels further.
    near = (
        f"[...{CARDS}].filter((c) => c.getBoundingClientRect().top < innerHeight + 210)"
    )
    assert 0 < len(asked_for(tab, "thumbs")) <= tab.ask(f"{near}.length") < 60
    assert asked_for(tab, "pictures") == []
    assert tab.ask("document.documentElement.scrollWidth") <= size[0]
    # At the end of the list the next films are added, until all are there.
    for _ in range(60):
        tab.ask("scrollTo(0, document.body.scrollHeight)")
        tab.settle()
        if tab.ask(f"{CARDS}.length") == 500:
            break
    assert tab.ask(f"{CARDS}.length") == 500
    assert len(asked_for(tab, "thumbs")) <= 500
    assert tab.complaints == []


@SIZES
def test_a_film_its_mask_and_its_neighbours(tab, many, size):
    tab.open(many, width=size[0], height=size[1])
    tab.wait(f"{CARDS}.length > 0")
    tab.ask(f"{CARDS}[0].scrollIntoView({{block: 'center'}})")
    click(tab, "#films-list button")
    tab.wait(f"{LAYERS}.length == 2 && {LAYERS}.every((i) => i.complete)")
    assert text(tab, "v-id") == "film.000"
    assert text(tab, "v-count") == "1 of 500"
    assert "mask 256 px" in text(tab, "v-facts")
    # Inside of the mask, and outside.
    red, _, blue = pixel(tab, 0.25, 0.375)
    assert red - blue > 50
    assert pixel(tab, 0.25, 0.75) == [100, 100, 100]
    assert pixel(tab, 0.75, 0.375) == [140, 140, 140]
    click(tab, "#v-mask")
    assert pixel(tab, 0.25, 0.375) == [100, 100, 100]
    tab.key("m")
    assert pixel(tab, 0.25, 0.375)[0] == red
    tab.ask("document.getElementById('v-opacity').value = 100")
    tab.ask("document.getElementById('v-opacity').dispatchEvent(new Event('input'))")
    assert pixel(tab, 0.25, 0.375) == [255, 130, 40]
    tab.key("ArrowRight")
    assert text(tab, "v-id") == "film.001"
    # At once: no picture of another film may stand under this id.
    assert tab.ask(f"{LAYERS}.every((i) => i.src.includes('film.001'))")
    tab.wait(f"{LAYERS}.every((i) => i.complete)")
    # It has no mask.
    assert pixel(tab, 0.25, 0.375) == [60, 60, 60]
    assert tab.ask("document.getElementById('v-mask').disabled")
    tab.key("ArrowLeft")
    tab.key("ArrowLeft")
    assert text(tab, "v-id") == "film.000"
    # The film, its neighbour, and the neighbour's, but not the other 497.
    assert len(set(asked_for(tab, "pictures"))) <= 3
    tab.key("Escape")
    tab.wait("document.activeElement.dataset.index === '0'")
    assert not tab.ask("document.getElementById('viewer').open")
    assert tab.complaints == []


def test_the_heat_is_loaded_when_it_is_asked_for(tab, many):
    opened(tab, many, DESKTOP)
    assert asked_for(tab, "heat") == []
    tab.key("h")
    tab.wait(f"{LAYERS}.length == 3 && {LAYERS}.every((i) => i.complete)")
    assert len(asked_for(tab, "heat")) == 1
    red, _, blue = pixel(tab, 0.75, 0.75)
    assert red - blue > 50
    tab.key("h")
    assert pixel(tab, 0.75, 0.75) == [140, 140, 140]


@SIZES
def test_dragging_sets_the_window(tab, many, size):
    opened(tab, many, size)
    x, y = middle(tab)
    tab.drag((x, y), right=-100, down=-20)
    width, centre = 155, 107.5
    assert "window 155, centre 108" in text(tab, "v-values")
    for at, grey in ((0.25, 100), (0.75, 140)):
        wanted = round(255 * ((grey - centre) / width + 0.5))
        seen = pixel(tab, at, 0.75)
        assert max(abs(value - wanted) for value in seen) <= 1
    # It stays for the next film.
    tab.key("ArrowRight")
    tab.wait(f"{LAYERS}.every((i) => i.complete)")
    assert abs(pixel(tab, 0.25, 0.75)[0] - 255 * ((60 - centre) / width + 0.5)) <= 1
    tab.key("0")
    assert pixel(tab, 0.25, 0.75) == [60, 60, 60]


def test_a_finger_sets_the_window_and_two_zoom(tab, many):
    opened(tab, many, PHONE)
    x, y = middle(tab)
    tab.touch([(x, y)], [(x - 40, y)], [(x - 100, y + 10)])
    assert "window 155, centre 138" in text(tab, "v-values")
    tab.touch([(x - 20, y), (x + 20, y)], [(x - 40, y), (x + 40, y)])
    assert "window 155, centre 138, zoom 2" in text(tab, "v-values")
    # The middle of the fingers stays, and moves with them.
    left, _, width, _ = box(tab, "#v-layers")
    assert left + width / 2 == pytest.approx(x, abs=1)
    tab.touch([(x - 20, y), (x + 20, y)], [(x + 10, y), (x + 50, y)])
    moved, *_ = box(tab, "#v-layers")
    assert moved - left == pytest.approx(30, abs=1)
    # A double tap shows the whole film again, and the next one a part.
    tab.key("0")
    for zoom in ("zoom 3", "zoom 1"):
        tab.touch([(x, y)])
        tab.touch([(x, y)])
        assert text(tab, "v-values").endswith(zoom)


def test_the_wheel_zooms_at_its_point_and_the_film_moves(tab, many):
    opened(tab, many, DESKTOP)
    _, _, before, _ = box(tab, "#v-layers")
    left, top, width, height = box(tab, "#v-layers")
    point = left + 0.25 * width, top + 0.75 * height
    tab.wheel(point, -400)
    tab.wait("document.getElementById('v-values').textContent.endsWith('zoom 2')")
    left, top, width, height = box(tab, "#v-layers")
    assert width == pytest.approx(2 * before, abs=1)
    assert (point[1] - top) / height == pytest.approx(0.75, abs=0.01)
    tab.key("d")
    tab.drag(middle(tab), right=0, down=60)
    assert box(tab, "#v-layers")[1] - top == pytest.approx(60, abs=1)
    assert "window 255" in text(tab, "v-values")
    tab.key("-")
    assert text(tab, "v-values").endswith("zoom 1.3")
    tab.key("+")
    tab.key("+")
    assert text(tab, "v-values").endswith("zoom 3")
    for _ in range(12):
        tab.key("+")
    assert text(tab, "v-values").endswith("zoom 16")
    tab.key("0")
    assert box(tab, "#v-layers")[2] == pytest.approx(before)


def test_the_list_is_searched_shown_in_part_and_sorted(tab, many):
    tab.open(many, width=1280, height=900)
    tab.wait(f"{CARDS}.length > 0")

    def choose(**values):
        for name, value in values.items():
            tab.ask(
                f"(() => {{ const e = document.getElementById('films-{name}');"
                f"e.value = {value!r};"
                "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
            )
        tab.settle()
        ids = tab.ask(f"[...{CARDS}].slice(0, 3).map((b) => b.title)")
        return text(tab, "films-count"), ids

    assert choose(sort="-probability") == (
        "500 of 500 films",
        ["film.499", "film.498", "film.497"],
    )
    assert choose(show="warned") == (
        "5 of 500 films",
        ["film.407", "film.307", "film.207"],
    )
    assert choose(id="FILM.1") == ("1 of 500 films", ["film.107"])
    # The neighbours of a film are those of the list.
    tab.ask(f"{CARDS}[0].click()")
    assert text(tab, "v-count") == "1 of 1"
    assert text(tab, "v-warnings") == "unlike"
    tab.key("Escape")
    assert choose(show="empty", id="") == (
        "250 of 500 films",
        ["film.499", "film.497", "film.495"],
    )
    assert choose(show="all", sort="-area")[1] == ["film.000", "film.002", "film.004"]
    assert choose(id="none of them") == ("0 of 500 films", [])


def test_no_id_or_warning_is_taken_for_html(tab, tmp_path):
    films = [film(k, id=i, warnings=i) for k, i in enumerate(HOSTILE)]
    page = write(tmp_path, films, keeps_maps=False)
    tab.open(page, width=1280, height=900)
    tab.wait(f"{CARDS}.length == {len(HOSTILE)}")
    ids = "[...document.querySelectorAll('#films-list bdi')].map((e) => e.textContent)"
    assert tab.ask(ids) == list(HOSTILE)
    tab.ask(f"{CARDS}[0].click()")
    for image_id in HOSTILE:
        tab.wait(f"{LAYERS}.length && {LAYERS}[0].naturalWidth == {SIDE}")
        assert text(tab, "v-id") == text(tab, "v-warnings") == image_id
        tab.key("ArrowRight")
    assert tab.ask("window.broken") is None
    assert tab.complaints == []


def test_what_is_not_there_is_said(tab, tmp_path):
    page = write(tmp_path, [film(k, heat=False) for k in range(2)], keeps_maps=False)
    (tmp_path / "films" / "pictures" / "film.001.png").unlink()
    opened(tab, page, DESKTOP)
    assert box(tab, "#v-heat")[2] == 0
    tab.key("h")
    assert tab.ask(f"{LAYERS}.length") == 2
    tab.key("?")
    assert box(tab, "#v-no-heat")[3] > 0
    tab.key("ArrowRight")
    tab.wait("!document.getElementById('v-error').hidden")
    assert "films/pictures/film.001.png is missing" in text(tab, "v-error")
    # The first Escape closes the help alone.
    tab.key("Escape")
    tab.settle()
    assert tab.ask("document.getElementById('viewer').open")
    (tmp_path / "films" / film_index.INDEX).unlink()
    tab.open(page, width=360, height=740)
    assert box(tab, "#films-missing")[3] > 0
    assert box(tab, "#films-find")[3] == 0


def test_every_control_has_a_name_and_room_for_a_finger(tab, many):
    opened(tab, many, PHONE)
    controls = tab.ask(
        "[...document.querySelectorAll('#viewer button, #viewer input')].map((e) => "
        "[e.ariaLabel || e.closest('label').textContent.trim(), e.offsetHeight])"
    )
    assert len(controls) == 11
    assert all(name and height >= 40 for name, height in controls)
    assert tab.ask(
        "[...document.querySelectorAll('#viewer button')].every((e) => "
        "e.getBoundingClientRect().right <= 360 && "
        "e.getBoundingClientRect().bottom <= 740)"
    )
    assert "Not a medical device" in text(tab, "viewer")
