"""The bill of materials: valid, complete, and the same each time."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from conftest import write_sbom
from kit.places import REPOSITORY


@pytest.fixture(scope="module")
def bill(sbom: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(sbom.read_text())
    return told


def cargo(command: list[str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def crates(edges: str) -> set[str]:
    """What Cargo reaches from Mintage over these edges, without Mintage."""
    command = ["cargo", "tree", "--locked", "--edges", edges, "--prefix", "none"]
    lines = [line.split() for line in cargo(command).splitlines() if line]
    return {f"{name}@{version.removeprefix('v')}" for name, version, *_ in lines[1:]}


def test_the_schema_allows_it(sbom: Path) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(sbom.read_text()) is None
    assert validator.validate_str('{"bomFormat": "CycloneDX"}') is not None, "it does look"


def test_it_is_the_same_each_time(sbom: Path, tmp_path: Path) -> None:
    assert write_sbom(tmp_path / "again.json").read_bytes() == sbom.read_bytes()


def test_what_is_linked_is_in_it_and_nothing_that_only_tests_need(bill: dict[str, Any]) -> None:
    linked = {each["bom-ref"] for each in bill["components"] if each["scope"] == "required"}
    assert linked == crates("normal,no-proc-macro")
    every = {each["bom-ref"] for each in bill["components"]}
    assert every == crates("normal,build")
    assert crates("normal") <= every
    for name in ("proptest", "testcontainers", "rcgen"):
        assert not any(reference.startswith(f"{name}@") for reference in every)


def test_whatever_cargo_compiles_for_the_program_is_in_it(
    bill: dict[str, Any], program: Path
) -> None:
    command = ["cargo", "build", "--locked", "--bin", "mintage", "--message-format", "json"]
    messages = [json.loads(line) for line in cargo(command).splitlines()]
    artifacts = [each for each in messages if each["reason"] == "compiler-artifact"]
    # `registry+https://github.com/rust-lang/crates.io-index#anstyle@1.0.14`
    compiled = {each["package_id"].rpartition("#")[2] for each in artifacts
                if each["package_id"].startswith("registry+")}
    assert len(compiled) > 150
    assert compiled == {each["bom-ref"] for each in bill["components"]}


def test_each_crate_has_its_licence_its_hash_and_its_name_in_the_registry(
    bill: dict[str, Any],
) -> None:
    lock = (REPOSITORY / "Cargo.lock").read_text()
    for each in bill["components"]:
        purl = PackageURL.from_string(each["purl"])
        assert (purl.type, purl.name, purl.version) == ("cargo", each["name"], each["version"])
        assert each["licenses"], each["name"]
        [sha256] = each["hashes"]
        locked = re.search(
            rf'name = "{re.escape(each["name"])}"\nversion = "{re.escape(each["version"])}"\n'
            rf'source = .*\nchecksum = "(.*)"',
            lock,
        )
        assert locked and sha256 == {"alg": "SHA-256", "content": locked[1]}


def test_everything_in_it_is_needed_by_something(bill: dict[str, Any]) -> None:
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    reached: set[str] = set()
    ahead = [bill["metadata"]["component"]["bom-ref"]]
    while ahead:
        reference = ahead.pop()
        if reference not in reached:
            reached.add(reference)
            ahead += needs[reference]
    assert reached == {each["bom-ref"] for each in bill["components"]} | {"mintage@0.1.0"}


def test_it_says_of_what_and_when(bill: dict[str, Any]) -> None:
    about = bill["metadata"]
    assert about["component"]["name"] == "mintage"
    assert "purl" not in about["component"], "it is in no registry, where a stranger could take it"
    assert about["timestamp"] == "2026-11-22T07:17:48+00:00"
