"""Makes the stubs in python/src/mintage/v1/ from proto/, or says whether they are fresh.

    python python/scripts/stubs.py            # makes them anew
    python python/scripts/stubs.py --check    # changes nothing; exit status 1 where they differ

It sets up the pinned tools of stubs-requirements.txt in a virtual environment of its own, under
target/, since they are older than what the tests run with. They need CPython 3.10 to 3.12.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROTO = REPOSITORY / "proto"
STUBS = REPOSITORY / "python" / "src" / "mintage" / "v1"
REQUIREMENTS = Path(__file__).with_name("stubs-requirements.txt")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

# The only file with a service in it; of the others protoc would make empty modules.
SERVICE = "mintage/v1/token_service.proto"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only say whether they are fresh")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as made:
        generate(tools(), Path(made))
        fresh = Path(made) / "mintage" / "v1"
        stale = differing(fresh, STUBS)
        if check:
            for name in stale:
                print(f"not fresh: python/src/mintage/v1/{name}", file=sys.stderr)
            return 1 if stale else 0
        replace(fresh, STUBS)
        print(f"{len(stale)} files changed")
        return 0


def tools() -> Path:
    """The folder of a virtual environment's programs that has exactly the pinned tools."""
    home = TARGET / "python-stubs"
    installed = home / "requirements.txt"
    if not installed.exists() or not filecmp.cmp(installed, REQUIREMENTS, shallow=False):
        if not (3, 10) <= sys.version_info[:2] <= (3, 12):
            sys.exit("stubs.py: the pinned grpcio-tools has wheels for CPython 3.10 to 3.12 only")
        venv.create(home, clear=True, with_pip=True)
        quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", *quiet]
        subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
        shutil.copy(REQUIREMENTS, installed)
    return home / "bin"


def generate(programs: Path, output: Path) -> None:
    """Runs protoc; its plugins for the types are looked for in `programs`."""
    environment = dict(os.environ, PATH=f"{programs}{os.pathsep}{os.environ.get('PATH', '')}")
    python = str(programs / "python")
    find = "import grpc_tools, pathlib; print(pathlib.Path(grpc_tools.__file__).parent / '_proto')"
    include = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True)
    protoc = [python, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{include.stdout.strip()}"]
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    messages = [f"--python_out={output}", f"--mypy_out=quiet:{output}"]
    service = [f"--grpc_python_out={output}", f"--mypy_grpc_out=quiet:{output}"]
    subprocess.run([*protoc, *messages, *sources], check=True, env=environment)
    subprocess.run([*protoc, *service, SERVICE], check=True, env=environment)


def differing(fresh: Path, present: Path) -> list[str]:
    names = sorted(generated(fresh) | generated(present))
    _, mismatched, missing = filecmp.cmpfiles(fresh, present, names, shallow=False)
    return mismatched + missing


def replace(fresh: Path, present: Path) -> None:
    for name in generated(present) - generated(fresh):
        (present / name).unlink()
    for name in generated(fresh):
        shutil.copyfile(fresh / name, present / name)


def generated(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*_pb2*.py*") if path.is_file()}


if __name__ == "__main__":
    sys.exit(main())
