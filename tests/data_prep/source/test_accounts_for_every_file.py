"""Whatever lies in a source, each file has one fate, and the log and csv tell it."""

import logging
import os
import pathlib
import re
import tempfile

from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_prep.core.errors import CommandError
from data_prep.source import file_kinds
from data_prep.source import image_files
from data_prep.source.quarantine import Quarantine
from tests import odd_files

FILES = (
    # Several films, so that files of one id are equal or not.
    {f"film {k}": odd_files.png(k) for k in range(3)}
    | odd_files.IMAGES
    | {kind: data for kind, (data, _) in odd_files.REFUSED.items()}
    | {kind: data for kind, (data, _) in odd_files.OTHERS.items()}
)
FOLDERS = ("", "in", "in/deep", "out of it", ".hidden", "Ürdinger Straße")
STEMS = (
    *("a", "IM0001", "1.2.840.113", "x" * 70, "Müller", "two words", "new\nline"),
    *(".dot", "-dash", "=sum", "._a", os.fsdecode(b"\xff\xfe")),
)
SUFFIXES = ("", ".dcm", ".DICOM", ".png", ".jpg", ".csv", ".dcm.gz", ".zip", ".tif")
NAMES = st.builds(
    lambda *parts: "".join(parts), *map(st.sampled_from, (STEMS, SUFFIXES))
)
# A member of a zip has a name in UTF-8.
MEMBER_NAMES = NAMES.filter(lambda name: "\udcff" not in name)
KINDS = st.sampled_from(sorted(FILES))
PLACES = st.tuples(st.sampled_from(FOLDERS), NAMES)
TREES = st.fixed_dictionaries(
    {
        "files": st.dictionaries(PLACES, KINDS, max_size=9),
        "twins": st.lists(st.sampled_from(FOLDERS), max_size=4),
        "zips": st.dictionaries(
            PLACES, st.dictionaries(MEMBER_NAMES, KINDS, max_size=4), max_size=2
        ),
        "links": st.dictionaries(
            PLACES,
            st.sampled_from(
                ("film", "far film", "far csv", "nothing", "itself", "pipe")
            ),
            max_size=3,
        ),
        "folder links": st.dictionaries(
            PLACES, st.sampled_from(("above", "in", "up", "far")), max_size=3
        ),
    }
)

# Chance seldom draws an equal film under an id that fits.
TWINS = {
    "files": {("", "a"): "film 0", ("", "IM0001"): "film 1"},
    "twins": ["in", "in/deep"],
    "zips": {("", "a.zip"): {"a.png": "film 0", "IM0001": "film 2"}},
    "links": {},
    "folder links": {},
}


class Recorder(Quarantine):
    """Keeps each path; rows of equal names would count once."""

    def __init__(self, *roots):
        super().__init__(*roots)
        self.paths = []

    def add(self, path, error):
        super().add(path, error)
        self.paths.append(path)


class Tree:
    """A source folder on disk, with the fate that each file in it must have."""

    def __init__(self, base: pathlib.Path, drawn: dict):
        self.root = base / "source"
        self.images, self.refused, self.num_left_out = [], [], 0
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        far = base / "far"
        far.mkdir()
        for name, kind in (("far film", "film 0"), ("far csv", "csv")):
            (far / name).write_bytes(FILES[kind])
        targets = {
            "film": base / "film",
            "far film": far / "far film",
            "far csv": far / "far csv",
            "pipe": base / "pipe",
        }
        targets["film"].write_bytes(FILES["film 0"])
        os.mkfifo(targets["pipe"])
        # Equal files of one name in several folders.
        files = dict(drawn["files"])
        for folder, ((_, name), kind) in zip(
            drawn["twins"], drawn["files"].items(), strict=False
        ):
            files.setdefault((folder, name), kind)
        for path, kind in self._free(files):
            path.write_bytes(FILES[kind])
            self._expect(path, kind)
        for path, members in self._free(drawn["zips"]):
            self._zip(path, members)
        for path, kind in self._free(drawn["links"]):
            path.symlink_to(
                {"nothing": "nothing", "itself": path.name}.get(kind, targets.get(kind))
            )
            if kind in targets and kind != "pipe":
                self._expect(path, "csv" if kind == "far csv" else "film 0")
            else:
                self.refused.append(path)
        folders = {"above": base, "in": self.root / "in", "up": self.root, "far": far}
        far_links = []
        for path, kind in self._free(drawn["folder links"]):
            path.symlink_to(folders[kind])
            far_links += [path] * (kind == "far")
        if far_links:
            # It counts once, under the link that is followed first.
            self.images.append(min(far_links) / "far film")
            self.num_left_out += 1

    def _free(self, drawn):
        for place, what in drawn.items():
            path = self.root.joinpath(*place)
            if not os.path.lexists(path):
                yield path, what

    def _zip(self, path, members):
        path.write_bytes(odd_files.zipped({n: FILES[k] for n, k in members.items()}))
        self.num_left_out += not members
        for name, kind in members.items():
            self._expect(path / name, kind)

    def _expect(self, path, kind):
        name = file_kinds.without_gz(path.name.lower())
        claims = name.endswith((".dcm", ".dicom", ".png", ".jpg", ".tif", ".zip"))
        if kind in odd_files.IMAGES or kind.startswith("film"):
            self.images.append(path)
        elif kind in odd_files.REFUSED or (claims and kind != "apple"):
            self.refused.append(path)
        else:
            self.num_left_out += 1


def run(tree, function):
    """Returns what the function returns, the quarantine, and the log's lines."""
    bad = Recorder(tree.root)
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        return function(tree.root, bad), bad, lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def counted(lines, told, pattern):
    lines = [line for line in lines if told in line]
    return sum(int(n) for line in lines for n in re.findall(pattern, line))


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_every_file_has_one_fate(drawn):
    with tempfile.TemporaryDirectory() as base:
        tree = Tree(pathlib.Path(base), drawn)
        files, bad, lines = run(tree, image_files.walk)
        assert [file.shown for file in files] == sorted(tree.images)
        assert sorted(bad.paths) == sorted(tree.refused)
        assert all("\n" not in line for line in lines)
        assert counted(lines, "left out", r"(\d+) [\w. ]+ \(first") == tree.num_left_out
        for file in files:
            assert file.read_bytes()


@settings(max_examples=40, deadline=None)
@given(TREES)
@example(TWINS)
def test_every_image_has_an_id_or_a_reason(drawn):
    with tempfile.TemporaryDirectory() as base:
        tree = Tree(pathlib.Path(base), drawn)
        try:
            files, bad, lines = run(tree, image_files.find)
        except CommandError:
            assert not tree.images
            assert not tree.refused
            return
        equal = counted(lines, "files equal", r"(\d+) files equal another")
        assert len(bad.paths) == len(set(bad.paths))
        found = {file.shown for file in files.values()}
        assert len(found) == len(files)
        assert found <= set(tree.images) - set(bad.paths)
        assert set(bad.paths) <= set(tree.images) | set(tree.refused)
        total = len(tree.images) + len(tree.refused)
        assert len(found) + len(bad.paths) + equal == total
