"""The image, made of the debug build, and what it runs beside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import docker, engine_answers, sweep
from kit.certificates import Authority
from kit.identities import Issuer
from kit.places import BINARY, REPOSITORY

TAG = f"mintage-test-image:{os.getpid()}"


@pytest.fixture(scope="session")
def program() -> Path:
    """The debug build of this tree."""
    subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=REPOSITORY, check=True)
    return BINARY


@pytest.fixture(scope="session")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bill of materials, as `make image` writes it."""
    return write_sbom(tmp_path_factory.mktemp("sbom") / "mintage.cdx.json")


def write_sbom(file: Path) -> Path:
    script = REPOSITORY / "scripts" / "sbom.py"
    subprocess.run([sys.executable, script, "--created", "2026-11-22T07:17:48Z", file], check=True)
    return file


@pytest.fixture(scope="session")
def image(program: Path, sbom: Path) -> Iterator[str]:
    """The tag of the image, which is gone after the tests."""
    if not engine_answers():
        pytest.skip("NOT TESTED, the image: no Docker engine answers `docker info`")
    sweep()
    made = subprocess.run(
        [REPOSITORY / "scripts" / "image", program, TAG, sbom], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{TAG}\n"
    yield TAG
    docker("image", "rm", "--force", TAG)


@pytest.fixture(scope="session")
def user() -> int:
    """Who runs it: the image's own user, or whoever can read what this test writes."""
    return 65532 if os.geteuid() == 0 else os.geteuid()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
