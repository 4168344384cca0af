"""Writes Mintage's bill of materials: every crate that is in the program, and every crate that
ran to make it, in CycloneDX 1.6 JSON.

    sbom.py [--created 2026-11-22T07:17:48Z] target/mintage.cdx.json

Cargo says what there is (`cargo tree`: `cargo metadata` would bring along what only tests switch
on), Cargo.lock what it hashes to. A crate that is linked has the scope `required`; a procedural
macro, a build script's dependency, and what only those need is `excluded`: it ran on the builder.
The same tree and the same `--created` give the same bytes. What isn't Rust, glibc above all, is in
the image's own list (scripts/image-root).
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

REPOSITORY = Path(__file__).resolve().parent.parent

LOCKED = re.compile(
    r'^name = "(?P<name>[^"]+)"\nversion = "(?P<version>[^"]+)"\n'
    r'source = "registry[^"]+"\nchecksum = "(?P<sha256>[0-9a-f]{64})"$',
    re.MULTILINE,
)
"""A crate from the registry, as Cargo writes it into Cargo.lock."""


class Crate(NamedTuple):
    """One version of a crate: what `cargo tree`, `cargo metadata` and Cargo.lock all call it."""

    name: str
    version: str

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


Tree = dict[Crate, set[Crate]]
"""Each crate with those that it depends on."""


def cargo(*arguments: str) -> str:
    command = ["cargo", *arguments, "--locked"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def tree(edges: str) -> tuple[Crate, Tree]:
    """The root, and what it reaches over these edges, as `cargo tree --edges` names them."""
    needs: Tree = {}
    way: list[Crate] = []
    told = cargo("tree", "--edges", edges, "--prefix", "depth", "--format", " {p}")
    for line in told.splitlines():
        # `2 anstyle v1.0.14`, and behind it what doesn't matter here.
        depth, name, version = line.split()[:3]
        crate = Crate(name, version.removeprefix("v"))
        needs.setdefault(crate, set())
        del way[int(depth) :]
        if way:
            needs[way[-1]].add(crate)
        way.append(crate)
    return way[0], needs


def component(crate: Crate, package: dict[str, Any], linked: bool, sha256: str) -> Component:
    kinds = ExternalReferenceType
    references = [("repository", kinds.VCS), ("homepage", kinds.WEBSITE)]
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=crate.reference,
        name=crate.name,
        version=crate.version,
        description=package["description"],
        scope=ComponentScope.REQUIRED if linked else ComponentScope.EXCLUDED,
        purl=PackageURL("cargo", name=crate.name, version=crate.version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        licenses=[license_of(package)],
        external_references=[
            ExternalReference(type=kind, url=XsUri(package[field]))
            for field, kind in references
            if package[field]
        ],
    )


def license_of(package: dict[str, Any]) -> Any:
    """The SPDX expression; crates of old have a slash for OR."""
    return LicenseFactory().make_from_string(re.sub(r"\s*/\s*", " OR ", package["license"]))


def bill(created: datetime.datetime) -> Bom:
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    packages = {Crate(each["name"], each["version"]): each for each in metadata["packages"]}
    lock = (REPOSITORY / "Cargo.lock").read_text()
    locked = LOCKED.finditer(lock)
    sha256 = {Crate(found["name"], found["version"]): found["sha256"] for found in locked}
    root, linked = tree("normal,no-proc-macro")
    _, all_crates = tree("normal,build")

    bom = Bom(serial_number=uuid.UUID(int=0))
    bom.metadata.timestamp = created
    # Without a package URL: this crate is in no registry.
    bom.metadata.component = Component(
        type=ComponentType.APPLICATION,
        bom_ref=root.reference,
        name=root.name,
        version=root.version,
        description=packages[root]["description"],
        licenses=[license_of(packages[root])],
    )
    references = {crate: crate.reference for crate in all_crates}
    components = {root: bom.metadata.component}
    for crate in sorted(references.keys() - {root}):
        components[crate] = component(crate, packages[crate], crate in linked, sha256[crate])
        bom.components.add(components[crate])
    for crate, needs in all_crates.items():
        dependencies = [Dependency(components[need].bom_ref) for need in needs]
        bom.dependencies.add(Dependency(components[crate].bom_ref, dependencies))
    # Of what is in it, so that another bill never has it, and the same one always.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, written(bom))
    return bom


def written(bom: Bom) -> str:
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return outputter.output_as_string(indent=1) + "\n"


def moment(text: str) -> datetime.datetime:
    """In ISO 8601; Python 3.10 doesn't know its Z."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--created",
        type=moment,
        default="1970-01-01T00:00:00Z",
        help="when the source was committed (ISO 8601)",
    )
    arguments = parser.parse_args()
    arguments.output.write_text(written(bill(arguments.created)), encoding="utf-8")


if __name__ == "__main__":
    main()
