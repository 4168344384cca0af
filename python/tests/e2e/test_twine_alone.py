"""twine's own trusted publishing, in a network namespace where its host is the example index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.tools import twines_hosts

HERE = Path(__file__).resolve().parent
WAYS_IN = (
    ["unshare", "--net", "--mount"],
    ["unshare", "--net", "--mount", "--map-root-user"],
)
"""As root, and as anybody where the system lets them."""


@pytest.fixture(scope="session")
def way_in() -> list[str]:
    """The command that runs another in a namespace of its own."""
    told = ""
    for command in WAYS_IN:
        try:
            probe = [*command, "mount", "--bind", "/etc/hosts", "/etc/hosts"]
            subprocess.run(probe, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            told = str(error)
        except subprocess.CalledProcessError as error:
            told = error.stderr.strip()
        else:
            return command
    pytest.skip(f"NOT TESTED, twine's own trusted publishing: no network namespaces here: {told}")


def test_in_a_namespace_of_its_own_twine_publishes_unmodified(
    way_in: list[str], installed_tools: Path, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(" ".join(["127.0.0.1 localhost", *twines_hosts(installed_tools)]))
    pytest_command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider"]
    pytest_command += ["--basetemp", str(tmp_path / "inside")]
    run = subprocess.run(
        [*way_in, sys.executable, HERE / "namespace" / "enter.py", hosts, *pytest_command,
         HERE / "namespace" / "inside.py"],
        cwd=HERE, env=os.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 passed" in run.stdout, run.stdout
