"""How findings are shown: on a screen, and as JSON."""

import json

from trainer.machine import screen
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning


def test_the_screen_fits_and_ends_with_the_worst():
    long = " ".join(["word"] * 40)
    found = [
        fault("a", long, "pip install x"),
        warning("b", "yellow"),
        ok("c", "d", "e"),
    ]
    lines = screen.section("Title", found, colour=False).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Title"
    assert "          -> pip install x" in lines
    assert "  -       c                 d" in lines
    end = screen.summary(found, colour=False).splitlines()
    assert end[-1] == "1 fault, 1 warning: not ready"
    assert end.index("  warning b                 yellow") < end.index(
        "          -> pip install x"
    )
    assert "\x1b" not in "".join(lines + end)
    assert "\x1b[31;1mFAULT" in screen.section("T", found, colour=True)
    assert screen.summary([ok("a", "b")], colour=False) == "Ready"
    assert screen.summary(found[1:], colour=False).endswith("Ready, with 1 warning")


def test_a_name_that_is_to_be_copied_stays_whole():
    path = "/a-folder" * 12
    lines = screen.section("T", [fault("a", path, f"rm {path}")], colour=False)
    assert lines.count(path) == 2


def test_json_has_the_worst_status_and_every_key():
    read = json.loads(screen.as_json([ok("a", "b"), fault("c", "d", "e")]))
    assert read["status"] == "fault"
    assert read["checks"][1] == {
        "name": "c",
        "status": "fault",
        "text": "d",
        "fix": "e",
    }
    assert json.loads(screen.as_json([warning("a", "b")]))["status"] == "warning"
