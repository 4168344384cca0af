"""The alerts: each fires in its story, and no other one there; nothing fires where nothing is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from places import RULES
from stories import STORIES

FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'


def test_the_rules_are_good(promtool: str) -> None:
    checked = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("evaluated", sorted({story.world.evaluated for story in STORIES}))
def test_exactly_the_alerts_of_a_story_fire_in_it(evaluated: int, promtool: str, tmp_path: Path) -> None:
    """One run for all stories with the same pace: starting promtool costs as much as ten stories."""
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{evaluated}m",
        "group_eval_order": ["mintage-recordings"],
        "tests": [
            # The comment is all that promtool says of which story failed.
            story.world.test(f"{FIRING} # {story.name}", [f'{{alertname="{name}"}}' for name in sorted(story.fires)])
            for story in STORIES
            if story.world.evaluated == evaluated
        ],
    }
    # JSON is YAML.
    file = tmp_path / "stories.yaml"
    file.write_text(json.dumps(test))
    run = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_alert_has_a_story(alerts: dict[str, dict[str, object]]) -> None:
    told = frozenset[str]().union(*(story.fires for story in STORIES))
    assert told == alerts.keys()


def test_each_alert_says_who_should_come_and_where_to_read_on(alerts: dict[str, dict[str, object]]) -> None:
    for name, alert in alerts.items():
        assert alert["labels"] in ({"severity": "critical"}, {"severity": "warning"}), name
        annotations = alert["annotations"]
        assert isinstance(annotations, dict) and annotations.keys() == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"docs/alerts.md#{name.lower()}"
