"""Runs the core's tests with the oldest and with the newest of what the package supports.

    python python/tests/versions.py

Each end has a virtual environment of its own under target/. An interpreter that isn't there is
said so, loudly, and the nearest one that can take its place does. Only the core's tests run: those
of the client, whose stubs and channels are what changes with a version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

CORE = [
    "test_client.py",
    "test_conversions.py",
    "test_failures.py",
    "test_refusals.py",
    "test_retries.py",
    "test_secrets.py",
    "test_sharing.py",
    "test_tls.py",
    "test_tracing.py",
]


@dataclass(frozen=True)
class End:
    """One end of what is supported: the Pythons that its pinned packages have wheels for, the
    best first, and those packages."""

    name: str
    pythons: tuple[str, ...]
    requirements: str


ENDS = (
    End("oldest", ("3.10", "3.11", "3.12"), "requirements-oldest.txt"),
    End("newest", ("3.14", "3.13", "3.12", "3.11"), "requirements.txt"),
)


def main() -> int:
    failed = [end.name for end in ENDS if not holds(end)]
    if failed:
        print(f"versions: failed with the {' and the '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def holds(end: End) -> bool:
    python = interpreter(end)
    if python is None:
        print(f"versions: SKIPPED the {end.name}: no Python {' or '.join(end.pythons)} is here")
        return True
    program = environment(end, python)
    print(f"versions: the {end.name}, {describe(program)}", flush=True)
    tests = [str(TESTS / name) for name in CORE]
    run = [program, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", *tests]
    return subprocess.run(run, cwd=TESTS.parent).returncode == 0


def interpreter(end: End) -> str | None:
    """The best of an end's Pythons that is here."""
    for version in end.pythons:
        found = next(installed(version), None)
        if found is not None:
            return found
        print(f"versions: no Python {version} is here for the {end.name}")
    return None


def installed(version: str) -> Iterator[str]:
    """Where a Python of this version is: the one that runs this, on the path, or pyenv's."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield sys.executable
    on_path = shutil.which(f"python{version}")
    candidates = [on_path] if on_path else []
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += map(str, pyenv.glob(f"versions/{version}.*/bin/python"))
    for candidate in candidates:
        # pyenv leaves programs on the path that only say that they aren't installed.
        tell = [candidate, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        told = subprocess.run(tell, capture_output=True, text=True)
        if told.returncode == 0 and told.stdout.strip() == version:
            yield candidate


def environment(end: End, python: str) -> str:
    """The Python of a virtual environment with exactly an end's packages."""
    home = TARGET / f"python-{end.name}"
    requirements, done = TESTS / end.requirements, home / "installed.txt"
    wanted = f"{python}\n{requirements.read_text()}"
    program = str(home / "bin" / "python")
    if not done.exists() or done.read_text() != wanted:
        print(f"versions: installing the {end.name} into {home} ...", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", str(home)], check=True)
        quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        pip = [program, "-m", "pip", "install", *quiet, "--requirement", str(requirements)]
        subprocess.run(pip, check=True)
        done.write_text(wanted)
    return program


def describe(program: str) -> str:
    code = (
        "import google.protobuf, grpc, platform\n"
        "print(f'Python {platform.python_version()}, grpcio {grpc.__version__},'"
        " f' protobuf {google.protobuf.__version__}')"
    )
    told = subprocess.run([program, "-c", code], check=True, capture_output=True, text=True)
    return told.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
