"""inside.py PLAN: runs what the plan says, in the namespace that it finds itself in, as a node would.

Prints what came of it as JSON. The mounts and the network end with this process.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATIENCE = 90.0
"""Seconds that anything may take: build servers stall."""

SYSTEM = ("lib", "lib32", "lib64", "libx32", "bin", "sbin")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.05)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


class Container:
    """A program in a root of its own."""

    _counter = itertools.count()

    def __init__(self, folder: Path, hosts: Path, plan: dict[str, Any]) -> None:
        self._plan = plan
        number = next(self._counter)
        self._base, self._root = folder / f"base-{number}", folder / f"root-{number}"
        self._log = folder / f"log-{number}"
        self._process: subprocess.Popen[bytes] | None = None
        self._build(hosts)

    def _build(self, hosts: Path) -> None:
        for path in (self._base / "etc", self._root):
            path.mkdir(parents=True)
        binds = {"usr": "/usr", "proc": "/proc", "dev": "/dev"}
        for name in SYSTEM:
            here = Path("/") / name
            if here.is_symlink():
                (self._base / name).symlink_to(os.readlink(here))
            elif here.is_dir():
                binds[name] = str(here)
        if Path("/etc/ssl").is_dir():
            binds["etc/ssl"] = "/etc/ssl"
        for name in binds:
            (self._base / name).mkdir(parents=True)
        for name, source in {"mintage": self._plan["program"], "etc/hosts": str(hosts)}.items():
            (self._base / name).touch()
            binds[name] = source
        for path, volume in self._plan["mounts"].items():
            self.lay(path, volume)
        mount("--bind", self._base, self._root)
        for name, source in binds.items():
            mount("--bind", source, self._root / name)
        mount("-o", "remount,bind,ro", self._root)

    def lay(self, path: str, volume: dict[str, Any]) -> None:
        """Files as the kubelet lays them: all of them change at once, by one link."""
        place = self._base / path.lstrip("/")
        content = place / f"..{next(self._counter)}"
        content.mkdir(parents=True)
        for name, text in volume["files"].items():
            file = content / name
            file.write_bytes(base64.b64decode(text))
            os.chown(file, 0, self._plan["fs_group"])
            file.chmod(volume["mode"])
        link = place / "..data_tmp"
        link.symlink_to(content.name)
        link.rename(place / "..data")
        for name in volume["files"]:
            if not (place / name).is_symlink():
                (place / name).symlink_to(Path("..data") / name)
        for entry in place.iterdir():
            if entry.is_symlink() and not entry.exists():
                entry.unlink()

    def start(self) -> None:
        plan = self._plan
        as_told = [
            "setpriv", f"--reuid={plan['user']}", f"--regid={plan['group']}",
            f"--groups={plan['fs_group']}", "--no-new-privs", "--bounding-set=-all",
            "--inh-caps=-all",
        ]
        command = ["chroot", str(self._root), *as_told, "/mintage", *plan["arguments"]]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **plan["environment"]}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def status(self) -> dict[str, str]:
        """What the kernel says of the process."""
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def writes(self) -> bool:
        """Whether its root can be written to, even by root."""
        try:
            (self._root / "new").touch()
        except OSError:
            return False
        return True

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tell_to_end(self) -> None:
        assert self._process is not None
        self._process.terminate()

    def end(self) -> int:
        """Its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise SystemExit(f"it doesn't end: {self.log()}") from None

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Kubelet:
    """Asks probes, as they stand in the YAML."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports

    def asks(self, probe: dict[str, Any]) -> bool:
        seconds = probe.get("timeoutSeconds", 1)
        if "httpGet" in probe:
            return self._http(probe["httpGet"], seconds)
        return self._grpc(probe["grpc"], seconds)

    def _http(self, get: dict[str, Any], seconds: float) -> bool:
        port = self._ports[get["port"]]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        try:
            connection.request("GET", get["path"])
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _grpc(self, health: dict[str, Any], seconds: float) -> bool:
        with grpc.insecure_channel(f"127.0.0.1:{health['port']}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=health.get("service", ""))
            try:
                answer = stub.Check(request, timeout=seconds)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def finished(container: Container) -> dict[str, Any]:
    container.start()
    return {"code": container.end(), "log": container.log()}


def served(container: Container, plan: dict[str, Any], make: Callable[..., Container]) -> dict[str, Any]:
    """Runs the service as long as there is something to ask it."""
    pod = plan["pod"]
    told: dict[str, Any] = {}
    kubelet = Kubelet(pod["ports"])
    container.start()

    def probed(name: str) -> bool:
        if not container.runs():
            raise SystemExit(f"ended before {name}: {container.log()}")
        return kubelet.asks(pod["probes"][name])

    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        wait_until(lambda name=name: probed(name), f"{name}: {container.log()}")  # type: ignore[misc]
    status = container.status()
    wanted = ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs")
    told["status"] = {name: status[name].split() for name in wanted}
    told["writes"] = container.writes()
    if plan.get("smoke"):
        told["smoke"] = finished(make(plan["smoke"]))
    for change in plan.get("changes", []):
        container.lay(change["path"], change["volume"])
        wait_until(lambda change=change: change["says"] in container.log(),  # type: ignore[misc]
                   f"{change['says']}: {container.log()}")
        if plan.get("smoke"):
            told.setdefault("smokes", []).append(finished(make(plan["smoke"])))
    # Whoever has not heard yet that it goes still finds it there: what `drain_delay` is for.
    container.tell_to_end()
    wait_until(lambda: "leaving: " in container.log(), f"it leaves: {container.log()}")
    wait_until(lambda: not probed("readinessProbe"), f"it isn't ready: {container.log()}")
    told["leaving"] = {
        "live": probed("livenessProbe"), "listens": listens(pod["ports"]["grpc"])
    }
    # Told again, it waits no longer.
    container.tell_to_end()
    told["code"] = container.end()
    told["listens"] = listens(pod["ports"]["grpc"])
    told["log"] = container.log()
    return told


def main(file: str) -> None:
    plan = json.loads(Path(file).read_text())
    folder, hosts = Path(plan["folder"]), Path(plan["hosts"])

    def make(of: dict[str, Any]) -> Container:
        return Container(folder, hosts, of)

    servers = []
    try:
        for server in plan.get("servers", []):
            with (folder / "server.log").open("ab") as log:
                servers.append(subprocess.Popen(
                    server["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                ))
            wait_until(lambda port=server["port"]: listens(port),  # type: ignore[misc]
                       f"{server['command'][0]} listens")
        container = make(plan["pod"])
        if plan.get("serve"):
            told = served(container, plan, make)
        else:
            told = finished(container)
    finally:
        for process in servers:
            process.terminate()
            process.wait(PATIENCE)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
