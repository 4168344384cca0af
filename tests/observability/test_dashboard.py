"""The dashboard: as its generator makes it, and such that Grafana can lay it out."""

from __future__ import annotations

import json
import subprocess
import sys

from panels import panels
from places import DASHBOARD, REPOSITORY


def test_it_is_what_its_generator_makes() -> None:
    made = subprocess.run(
        [sys.executable, REPOSITORY / "helm" / "dashboard.py", "--check"],
        capture_output=True, text=True, timeout=60,
    )
    assert made.returncode == 0, made.stderr


def test_no_panel_lies_on_another_and_none_beside_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_is_for_and_has_a_name_of_its_own() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles) > 30
    assert all(len(panel["description"]) > 10 for panel in panels())
