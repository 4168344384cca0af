"""What is in the image, and what it says of itself."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import tarfile
from pathlib import Path

import pytest

import dockerfile
from engine import config, docker, files, run
from kit.places import REPOSITORY

DOCUMENTS = "usr/share/doc/mintage"
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"
OWN = {
    "mintage",
    AUTHORITIES,
    "etc/passwd",
    "etc/group",
    "etc/nsswitch.conf",
    f"{DOCUMENTS}/LICENSE-APACHE",
    f"{DOCUMENTS}/LICENSE-MIT",
    f"{DOCUMENTS}/mintage.cdx.json",
}

BEYOND_THE_PROGRAM = 6 << 20
"""The most bytes that everything but the program may take: glibc is 3 MiB of them."""

Contents = dict[str, tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def contents(image: str, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """Every entry of the image by its path, without the leading slash."""
    found = files(image, tmp_path_factory.mktemp("saved"))
    return {entry.name.removeprefix("./").rstrip("/"): (entry, held) for entry, held in found}


def libraries(program: Path) -> set[str]:
    told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return {path.lstrip("/") for path in re.findall(r"/\S+", told)}


def test_nothing_is_in_it_but_the_program_its_libraries_and_papers(
    contents: Contents, program: Path
) -> None:
    linked = libraries(program)
    names = {Path(name).name.partition(".so")[0].partition("-linux")[0] for name in linked}
    assert names == {"libc", "libm", "libgcc_s", "ld"}, "nothing else is linked dynamically"
    held = {name for name, (entry, _) in contents.items() if not entry.isdir()}
    packages = {name for name in held if name.startswith("var/lib/dpkg/status.d/")}
    copyrights = {f"usr/share/doc/{Path(name).name}/copyright" for name in packages}
    papers = packages | copyrights | ({"etc/os-release"} if packages else set())
    assert held == OWN | linked | papers


def test_nobody_can_change_or_become_anything_in_it(contents: Contents) -> None:
    for name, (entry, _) in contents.items():
        assert entry.isfile() or entry.isdir(), name
        assert (entry.uid, entry.gid) == (0, 0), name
        assert entry.mode & 0o7022 == 0, f"{name}: {entry.mode:o}"
        assert entry.mode & 0o444 == 0o444, f"{name}: {entry.mode:o}"


def test_there_is_no_shell_and_nothing_else_to_run(contents: Contents, image: str) -> None:
    held = {name: entry for name, (entry, _) in contents.items() if entry.isfile()}
    may_run = {name for name, entry in held.items() if entry.mode & 0o111 and ".so" not in name}
    assert may_run == {"mintage"}
    refused = run("run", "--rm", "--network=none", "--entrypoint=/bin/sh", image, "-c", "true")
    assert refused.returncode == 127, refused.stderr


def test_what_is_not_the_program_is_small(contents: Contents) -> None:
    rest = sum(entry.size for name, (entry, _) in contents.items() if name != "mintage")
    assert rest < BEYOND_THE_PROGRAM


def test_the_program_is_the_one_that_was_built(contents: Contents, program: Path) -> None:
    assert contents["mintage"][1] == program.read_bytes()


def test_it_is_run_as_the_dockerfile_says(image: str) -> None:
    said = config(image)
    own = "org.opencontainers.image."
    labels = said["Labels"]
    given = {"REVISION": labels[own + "revision"], "CREATED": labels[own + "created"]}
    expected = dockerfile.config(given)
    assert {key: said[key] for key in expected} == expected
    assert not said.get("Volumes") and not said.get("OnBuild")
    user, _, group = said["User"].partition(":")
    assert int(user) > 0 and int(group) > 0, "Kubernetes' runAsNonRoot wants numbers"


def test_its_labels_say_which_commit_it_is_of(image: str) -> None:
    labels = config(image)["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0 OR MIT"
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    )
    revision = labels["org.opencontainers.image.revision"]
    assert revision.removesuffix("-dirty") == (head.stdout.strip() or "unknown")


def test_its_authorities_are_certificates(contents: Contents) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=contents[AUTHORITIES][1].decode())
    assert len(context.get_ca_certs()) > 50


def test_its_bill_of_materials_is_the_one_beside_it(contents: Contents, sbom: Path) -> None:
    assert contents[f"{DOCUMENTS}/mintage.cdx.json"][1] == sbom.read_bytes()


def test_scanners_find_which_packages_its_libraries_are_of(contents: Contents) -> None:
    prefix = "var/lib/dpkg/status.d/"
    packages = {name: held for name, (entry, held) in contents.items()
                if name.startswith(prefix) and entry.isfile()}
    if not Path("/var/lib/dpkg/status").exists():
        assert not packages
        pytest.skip("NOT TESTED, the packages in the image: this machine isn't Debian's kind")
    names = {name.removeprefix(prefix) for name in packages}
    assert {"ca-certificates", "libc6"} <= names
    for name, status in packages.items():
        assert re.search(rf"^Package: {name.removeprefix(prefix)}$", status.decode(), re.MULTILINE)
        assert re.search(r"^Version: \S+$", status.decode(), re.MULTILINE)


def test_the_same_program_makes_the_same_files(
    program: Path, sbom: Path, tmp_path: Path
) -> None:
    def made(name: str) -> dict[str, bytes]:
        script = REPOSITORY / "scripts" / "image-root"
        subprocess.run([script, program, tmp_path / name, sbom], check=True)
        return {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*") if path.is_file()
        }

    assert made("one") == made("two")


def test_without_a_configuration_it_says_so_and_ends(image: str) -> None:
    ended = run("run", "--rm", "--network=none", image)
    assert ended.returncode == 1
    assert "/etc/mintage/mintage.toml" in ended.stderr


def test_its_other_commands_work(image: str) -> None:
    assert docker("run", "--rm", "--network=none", image, "--version").startswith("mintage ")
    given = json.dumps(["serve", "--config", "/etc/mintage/mintage.toml"])
    assert json.dumps(config(image)["Cmd"]) == given
