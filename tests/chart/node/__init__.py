"""A node for one pod: the real program, with just what the rendered YAML gives it.

Each run has a network and a file system of its own (`unshare`): the container's root is read-only
and holds the program, the system's libraries and the mounted volumes; the process is the user that
the YAML names, with no capability. `inside.py` is the part that runs there.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.places import BINARY, REPOSITORY

from rendered import Document, Rendered

HERE = Path(__file__).resolve().parent
ENTER = REPOSITORY / "python" / "tests" / "e2e" / "namespace" / "enter.py"
WAY_IN = ["unshare", "--net", "--mount"]

Files = Mapping[str, bytes]


def refused() -> str | None:
    """Why there can be no node here; None where there can."""
    probe = [*WAY_IN, "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    try:
        run = subprocess.run(probe, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return None if run.returncode == 0 else run.stderr.strip()


@dataclass(frozen=True)
class Cluster:
    """What is in the cluster beside the release: ConfigMaps and Secrets by name, and what a CSI
    driver mounts by the driver's name."""

    objects: Mapping[str, Files] = field(repr=False)
    drivers: Mapping[str, Files] = field(default_factory=dict, repr=False)

    def with_release(self, rendered: Rendered) -> Cluster:
        """The same, and what the release brings along."""
        objects = dict(self.objects)
        for one in rendered.all("ConfigMap"):
            objects[one["metadata"]["name"]] = {
                name: text.encode() for name, text in one["data"].items()
            }
        for one in rendered.all("Secret"):
            objects[one["metadata"]["name"]] = {
                name: base64.b64decode(text) for name, text in one["data"].items()
            }
        return Cluster(objects, self.drivers)

    def files(self, volume: Document) -> dict[str, bytes]:
        """What a volume of a pod holds."""
        if "configMap" in volume:
            return dict(self.objects[volume["configMap"]["name"]])
        if "csi" in volume:
            return dict(self.drivers[volume["csi"]["driver"]])
        if "projected" in volume:
            sources = volume["projected"]["sources"]
            return {k: v for one in sources for k, v in self.objects[one["secret"]["name"]].items()}
        files = self.objects[volume["secret"]["secretName"]]
        items = volume["secret"].get("items")
        return {one["path"]: files[one["key"]] for one in items} if items else dict(files)


def container_of(spec: Document, cluster: Cluster, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What `inside.py` needs of a pod with one container; `arguments` in place of its own."""
    [container] = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    mounts = {
        mount["mountPath"]: {
            "files": _coded(cluster.files(volumes[mount["name"]])),
            "mode": volumes[mount["name"]].get("secret", volumes[mount["name"]].get("projected", {}))
            .get("defaultMode", 0o644),
        }
        for mount in container.get("volumeMounts", [])
    }
    context = spec["securityContext"]
    return {
        "program": str(BINARY),
        "arguments": list(arguments) or container["args"],
        "environment": {one["name"]: one["value"] for one in container.get("env", [])},
        "mounts": mounts,
        "user": context["runAsUser"],
        "group": context["runAsGroup"],
        "fs_group": context["fsGroup"],
        "ports": {port["name"]: port["containerPort"] for port in container.get("ports", [])},
        "probes": {name: container[name] for name in container if name.endswith("Probe")},
    }


def _coded(files: Files) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


@dataclass
class Node:
    """Runs pods, each in a namespace of its own."""

    folder: Path
    hosts: Sequence[str] = ()
    """Names that lead to the node itself, beside localhost."""

    def run(self, plan: dict[str, Any]) -> dict[str, Any]:
        """What `inside.py` says of a plan."""
        hosts, file = self.folder / "hosts", self.folder / "plan.json"
        hosts.write_text(" ".join(["127.0.0.1 localhost", *self.hosts]) + "\n")
        plan = {**plan, "folder": str(self.folder), "hosts": str(hosts)}
        file.touch(mode=0o600)
        file.write_text(json.dumps(plan))
        command = [*WAY_IN, sys.executable, ENTER, hosts, sys.executable, HERE / "inside.py", file]
        run = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        told: dict[str, Any] = json.loads(run.stdout)
        return told
