"""What can be told of the Dockerfile where no base image can be pulled. That the build stage builds
is NOT TESTED here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import dockerfile
from kit.places import REPOSITORY


def manifest(folder: Path) -> str:
    return (folder / "Cargo.toml").read_text()


def test_it_names_the_version_that_the_manifest_does() -> None:
    version = re.findall(r'^version = "(.+)"$', manifest(REPOSITORY), re.MULTILINE)[0]
    assert dockerfile.arguments()["VERSION"] == version


def test_every_base_image_is_pinned_and_its_toolchain_is_new_enough() -> None:
    bases = [each.rest for each in dockerfile.instructions() if each.word == "FROM"]
    assert [base.partition(" ")[0].partition(":")[0] for base in bases] == ["rust", "scratch"]
    pinned = re.match(r"rust:(\d+)\.(\d+)\.(\d+)-bookworm AS build$", bases[0])
    assert pinned
    needed = re.findall(r'^rust-version = "(\d+)\.(\d+)"$', manifest(REPOSITORY), re.MULTILINE)[0]
    assert tuple(map(int, pinned.groups()[:2])) >= tuple(map(int, needed))


def test_the_builder_gets_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in rules if not rule.startswith("#")]
    assert rules[0] == "*", "whatever isn't named is left out"
    sent = [rule.removeprefix("!") for rule in rules[1:]]
    for name in sent:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)

    # Cargo finds every file that the manifest names, benches too.
    command = ["cargo", "metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    [package] = json.loads(told)["packages"]
    assert [each["name"] for each in package["targets"] if each["kind"] == ["bin"]] == ["mintage"]

    steps = [each for each in dockerfile.instructions() if each.word in ("RUN", "COPY")]
    called = " ".join(step.rest for step in steps)
    scripts = set(re.findall(r"scripts/[\w.-]+", called))
    assert scripts == {"scripts/sbom-requirements.txt", "scripts/sbom.py", "scripts/image-root"}
    for name in scripts:
        assert (tmp_path / name).is_file()
    compiled = {"Cargo.toml", "Cargo.lock", "build.rs", "src", "proto", "benches"}
    assert set(sent) == compiled | {"scripts", "LICENSE-APACHE", "LICENSE-MIT"}
