"""Docker's command, and containers that end with the tests that made them."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.processes import PATIENCE, SECRET, wait_until

LABEL = "mintage-test-image"
"""On every container of these tests; the value is the process that made it."""


def docker(*arguments: str | Path, patience: float = 2 * PATIENCE) -> str:
    """What the command answers; an AssertionError says what it said instead."""
    done = run(*arguments, patience=patience)
    assert done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def run(*arguments: str | Path, patience: float = 2 * PATIENCE) -> subprocess.CompletedProcess[str]:
    command = ["docker", *map(str, arguments)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience
    )


def engine_answers() -> bool:
    try:
        return run("info").returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def sweep() -> None:
    """Takes away what killed tests left behind: containers of processes that are no more."""
    form = '{{.ID}} {{.Label "' + LABEL + '"}}'
    for line in docker("ps", "--all", f"--filter=label={LABEL}", f"--format={form}").splitlines():
        container, process = line.split()
        if not Path("/proc", process).exists():
            run("rm", "--force", "--volumes", container)


def config(image: str) -> dict[str, Any]:
    """How the image says that it is run."""
    told = docker("image", "inspect", "--format", "{{json .Config}}", image)
    said: dict[str, Any] = json.loads(told)
    return said


def files(image: str, folder: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Everything in the image's layers, as it is kept and not as a container shows it."""
    archive = folder / "image.tar"
    docker("save", "--output", archive, image)
    with tarfile.open(archive) as saved:
        manifest = _json(saved, "manifest.json")
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(layer)) as entries:
                for entry in entries:
                    held = entries.extractfile(entry) if entry.isfile() else None
                    yield entry, held.read() if held else b""
    archive.unlink()


def _json(archive: tarfile.TarFile, name: str) -> Any:
    held = archive.extractfile(name)
    assert held is not None
    return json.load(held)


class Container:
    """What `docker run` made of `image`; `arguments` are the program's."""

    def __init__(self, image: str, *arguments: str, options: list[str]) -> None:
        label = f"--label={LABEL}={os.getpid()}"
        self.id = docker("run", "--detach", label, *options, image, *arguments)

    def log(self) -> str:
        """What it wrote, to either stream."""
        done = run("logs", self.id)
        return done.stdout + done.stderr

    def state(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(docker("inspect", "--format", "{{json .State}}", self.id))
        return said

    def wait_for_line(self, part: str) -> None:
        def there() -> bool:
            log = self.log()
            assert part in log or self.state()["Running"], f"ended before {part!r}:\n{log}"
            return part in log

        wait_until(there, f"{part!r} in the log")

    def stop(self) -> int:
        """SIGTERM, as Kubernetes sends it, and how the process ended; SIGKILL would be 137."""
        docker("stop", "-t", str(int(PATIENCE)), self.id)
        return int(self.state()["ExitCode"])

    def remove(self) -> None:
        """Takes it away, and sees to it that its log held no token."""
        log = self.log()
        docker("rm", "--force", "--volumes", self.id)
        told = SECRET.findall(log)
        assert not told, f"the log held {len(told)} tokens"


def hardened(user: int, mounts: Mapping[str, Path]) -> list[str]:
    """As the strictest cluster runs it, with files of this machine at these paths, read-only."""
    options = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    mounted = [f"--volume={source}:{place}:ro" for place, source in mounts.items()]
    return [*options, f"--user={user}", *mounted]
