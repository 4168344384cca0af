"""The chart's README says what the chart does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from rendered import CHART, REPOSITORY, SCENARIOS, Helm

README = (CHART / "README.md").read_text()
SCRIPT = REPOSITORY / "scripts" / "chart-readme"


def run(*arguments: str, chart: Path | None = None) -> subprocess.CompletedProcess[str]:
    script = SCRIPT if chart is None else chart.parent.parent / "scripts" / "chart-readme"
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_tables_of_values_are_fresh() -> None:
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr


def test_a_table_that_is_not_fresh_and_a_value_without_a_comment_are_noticed(tmp_path: Path) -> None:
    chart = tmp_path / "helm" / "mintage"
    chart.mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "chart-readme").write_text(SCRIPT.read_text())
    (chart / "README.md").write_text(README)
    text = (CHART / "values.yaml").read_text()
    (chart / "values.yaml").write_text(text.replace("replicas: 1\n", "replicas: 2\n"))
    assert "isn't fresh" in run("--check", chart=chart).stderr
    assert run(chart=chart).returncode == 0 and run("--check", chart=chart).returncode == 0
    assert "| `replicas` | `2` |" in (chart / "README.md").read_text()
    (chart / "values.yaml").write_text(text + "naked: 1\n")
    assert "naked has no comment that begins with --" in run("--check", chart=chart).stderr


def leaves(values: dict[str, Any], path: str = "") -> set[str]:
    """The paths of all values; a table's own where it is empty."""
    found: set[str] = set()
    for name, value in values.items():
        here = f"{path}{name}"
        found |= leaves(value, f"{here}.") if isinstance(value, dict) and value else {here}
    return found


def test_every_value_has_its_row() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = set(re.findall(r"^\| `([\w.]+)` \|", README, re.M))
    for leaf in leaves(values):
        parents = {leaf[: at.start()] for at in re.finditer(r"\.", leaf)} | {leaf}
        assert parents & rows, leaf


def test_every_value_is_in_the_schema_and_every_part_of_the_schema_is_strict() -> None:
    """Tables that Kubernetes or a person defines are open; those of the chart's own are not."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def strict(part: dict[str, Any]) -> None:
        if "properties" in part:
            assert part.get("additionalProperties") is False, part
        for below in part.values():
            for one in below if isinstance(below, list) else [below]:
                if isinstance(one, dict):
                    strict(one)

    strict(schema)
    assert set(values) | {"global"} == set(schema["properties"])
    for name, part in schema["properties"].items():
        if "properties" in part and name != "config":
            assert set(part["properties"]) >= set(values[name]), name


def test_what_the_readme_has_somebody_type_works(helm4: Helm, tmp_path: Path) -> None:
    """The quick start's values, as a shell makes them."""
    [script] = re.findall(r"cat > try\.yaml <<EOF\n(.*?)^EOF$", README, re.M | re.S)
    made = subprocess.run(
        ["sh", "-c", f"cat <<EOF\n{script}EOF"], env={"TOKEN": "test", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )
    file = tmp_path / "try.yaml"
    file.write_text(made.stdout)
    rendered = helm4.run("template", "mintage", CHART, "--values", file)
    assert rendered.returncode == 0, rendered.stderr
    assert "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" in rendered.stdout
    assert "--token-file" in rendered.stdout


def test_what_the_readme_points_to_is_there() -> None:
    for name in set(re.findall(r"`ci/([\w-]+)-values\.yaml`", README)):
        assert name in SCENARIOS, name
    schema = json.loads((CHART / "values.schema.json").read_text())
    mentioned = set(re.findall(r"`((?:[a-z]\w*\.)+\w+)`", README.split("## Values")[0]))
    for path in mentioned - {"mintage.Client", "tls.crt", "tls.key", "ca.crt"}:
        part: dict[str, Any] = schema
        for name in path.split("."):
            if "$ref" in part:
                part = schema["$defs"][part["$ref"].rpartition("/")[2]]
            assert name in part["properties"], path
            part = part["properties"][name]
