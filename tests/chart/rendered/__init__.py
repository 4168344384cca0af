"""The chart as Helm renders it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
CHART = REPOSITORY / "helm" / "mintage"
SCENARIOS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir())
"""The names of `ci/*-values.yaml`: each a way to run Mintage, from beginning to end."""

RELEASE, NAMESPACE = "tried", "index"

Document = dict[str, Any]


def values_of(scenario: str) -> Path:
    return CHART / "ci" / f"{scenario}-values.yaml"


@dataclass(frozen=True)
class Rendered:
    """All objects of a release, and the text they came from."""

    text: str
    documents: list[Document]

    def all(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Document:
        """The only object of this kind whose name ends so: the release's name, and `suffix`."""
        name = f"{RELEASE}-mintage{suffix}"
        [found] = [one for one in self.all(kind) if one["metadata"]["name"] == name]
        return found

    def has(self, kind: str) -> bool:
        return bool(self.all(kind))

    @property
    def pod(self) -> Document:
        """The pod template of the Deployment."""
        template: Document = self.one("Deployment")["spec"]["template"]
        return template

    @property
    def container(self) -> Document:
        """Mintage's container."""
        [found] = [one for one in self.pod["spec"]["containers"] if one["name"] == "mintage"]
        return dict(found)

    @property
    def toml(self) -> str:
        """Mintage's configuration."""
        text: str = self.one("ConfigMap")["data"]["mintage.toml"]
        return text

    @property
    def checksum(self) -> str:
        """What another configuration begins a rollout by."""
        text: str = self.pod["metadata"]["annotations"]["checksum/config"]
        return text


class Helm:
    """One Helm, with folders of its own."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        self._rendered: dict[str, Rendered] = {}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(part) for part in (self._program, *arguments)]
        return subprocess.run(
            command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    def render(self, scenario: str, values: Mapping[str, Any] | None = None) -> Rendered:
        """The release of a scenario; `values`, by path as for --set, count over it."""
        if not values and scenario in self._rendered:
            return self._rendered[scenario]
        run = self._template(values_of(scenario), values or {})
        assert run.returncode == 0, run.stderr
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        documents = [one for one in yaml.load_all(run.stdout, loader) if one is not None]
        rendered = Rendered(run.stdout, documents)
        if not values:
            self._rendered[scenario] = rendered
        return rendered

    def refuses(self, scenario: str | None, values: Mapping[str, Any]) -> str:
        """What it says to values that it should refuse; without a scenario, the chart's own."""
        run = self._template(values_of(scenario) if scenario else None, values)
        assert run.returncode != 0, f"rendered in spite of {values}"
        assert not run.stdout.strip(), "nothing is rendered that was refused"
        return run.stderr

    def _template(
        self, file: Path | None, values: Mapping[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        options: list[str | Path] = ["--values", file] if file else []
        for path, value in values.items():
            options += ["--set-json", f"{path}={json.dumps(value)}"]
        return self.run("template", RELEASE, CHART, "--namespace", NAMESPACE, *options)
