"""twine's own trusted publishing, in network namespaces where its host is an index of the tests'.

What runs inside stands in `namespace/`: with the example index, with pypiserver and devpi-server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.servers import Devpi, PyPIServer
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


@pytest.fixture(scope="session")
def installed_servers() -> None:
    """Inside, PyPI is out of reach."""
    for server in (PyPIServer, Devpi):
        server.install()


@pytest.mark.parametrize(
    ("inside", "passed"), [("inside.py", 4), ("inside_others.py", 4)]
)
def test_in_a_namespace_of_its_own_twine_publishes_unmodified(
    inside: str,
    passed: int,
    way_in: list[str],
    installed_tools: Path,
    installed_servers: None,
    tmp_path: Path,
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(" ".join(["127.0.0.1 localhost", *twines_hosts(installed_tools)]))
    pytest_command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider"]
    pytest_command += ["--basetemp", str(tmp_path / "inside")]
    run = subprocess.run(
        [*way_in, sys.executable, HERE / "namespace" / "enter.py", hosts, *pytest_command,
         HERE / "namespace" / inside],
        cwd=HERE, env=os.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{passed} passed" in run.stdout, run.stdout
