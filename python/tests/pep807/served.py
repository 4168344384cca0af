"""The indexes of the tests, and how each web server serves them.

One host with two indexes: `/legacy/` has the root paths that today's clients call and offers both
features; the upload path of the other holds a percent-escape, and single use is its default.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import wsgiref.simple_server
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import waitress.server
from asking import PATIENCE, Host

import mintage
import mintage.aio
import mintage.asgi
import mintage.wsgi
from mintage import MULTI_USE, SINGLE_USE, GitHub, Project, Publisher
from mintage.pep807 import Index

if TYPE_CHECKING:
    from issuer import Issuer

LEGACY = "/legacy/"
OTHER = "/other%20index"
PROJECT = Project("7", "sampleproject")


@dataclass(frozen=True)
class Service:
    """A running Mintage, and the issuer whose ID tokens it trusts."""

    address: str
    issuer: Issuer


def publisher(issuer: str) -> Publisher:
    identity = GitHub("octo", "1", "sampleproject", "release.yml")
    return Publisher("p1", issuer, identity, (PROJECT,))


def indexes(issuer: str) -> tuple[Index, Index]:
    def registered(claims: Mapping[str, Any]) -> Iterable[Publisher]:
        """What an index would ask its database for."""
        if claims.get("ref") == "refs/heads/broken":
            raise RuntimeError("the database is gone")
        if claims.get("repository_owner") == "octo":
            yield publisher(issuer)

    return (
        Index(LEGACY, "pypi", registered, name="pypi", features=(MULTI_USE, SINGLE_USE)),
        Index(
            OTHER,
            "other",
            registered,
            name="other",
            features=(MULTI_USE, SINGLE_USE),
            default_features=(SINGLE_USE,),
            prefix="/other/_/oidc",
        ),
    )


@contextlib.contextmanager
def uvicorn_host(address: str, all_indexes: Iterable[Index], **options: Any) -> Iterator[Host]:
    """The ASGI application; its client lives in the server's own event loop."""
    app = options.pop("app", None)
    root_path = options.pop("root_path", "")
    proxy_headers = options.pop("proxy_headers", False)
    server_options: dict[str, Any] = options.pop("server", {})
    started: list[uvicorn.Server] = []

    async def serve() -> None:
        async with mintage.aio.Client(address) as client:
            application = mintage.asgi.Application(client, all_indexes, app, **options)
            config = uvicorn.Config(
                wrapped(application),
                port=port,
                log_level="error",
                root_path=root_path,
                proxy_headers=proxy_headers,
                **server_options,
            )
            started.append(uvicorn.Server(config))
            await started[0].serve()

    wrapped: Callable[[Any], Any] = options.pop("wrapped", lambda application: application)
    port = free_port()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        until(lambda: bool(started) and started[0].started, thread.is_alive)
        yield Host(port)
    finally:
        if started:
            started[0].should_exit = True
        thread.join(PATIENCE)


@contextlib.contextmanager
def waitress_host(address: str, all_indexes: Iterable[Index], **options: Any) -> Iterator[Host]:
    wrapped: Callable[[Any], Any] = options.pop("wrapped", lambda application: application)
    with mintage.Client(address) as client:
        application = wrapped(mintage.wsgi.Application(client, all_indexes, **options))
        server: Any = waitress.server.create_server(
            application, host="127.0.0.1", port=0, clear_untrusted_proxy_headers=False
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield Host(int(server.effective_port), streams=False)
        finally:
            server.task_dispatcher.shutdown()
            server.trigger.pull_trigger(server.close)
            thread.join(PATIENCE)


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def wsgiref_host(address: str, all_indexes: Iterable[Index], **options: Any) -> Iterator[Host]:
    with mintage.Client(address) as client:
        application = mintage.wsgi.Application(client, all_indexes, **options)
        server = wsgiref.simple_server.make_server(
            "127.0.0.1", 0, application, handler_class=_Quiet
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Host(server.server_port)
        finally:
            server.shutdown()
            server.server_close()
            thread.join(PATIENCE)


@contextlib.contextmanager
def gunicorn_host(address: str, issuer: str) -> Iterator[Host]:
    """A process of its own: gunicorn can't be started in a thread."""
    port = free_port()
    here = Path(__file__).parent
    source = here.parent.parent / "src"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{here}{os.pathsep}{source}",
        "SERVED_BY": address,
        "SERVED_ISSUER": issuer,
    }
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    options = ["--workers", "1", "--threads", "4", "--log-level", "error"]
    process = subprocess.Popen(
        [*command, *options, "served:of_environment()"], env=environment, cwd=here
    )
    host = Host(port)
    try:
        until(lambda: _is_up(host), lambda: process.poll() is None)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def of_environment() -> mintage.wsgi.Application:
    """What gunicorn serves; its client is made in the worker, after the fork."""
    client = mintage.Client(os.environ["SERVED_BY"])
    return mintage.wsgi.Application(client, indexes(os.environ["SERVED_ISSUER"]))


def _is_up(host: Host) -> bool:
    try:
        return host.ask("GET", "/_/oidc/audience").status == 200
    except OSError:
        return False


def until(true: Callable[[], bool], alive: Callable[[], bool]) -> None:
    """Waits for a condition, while what is to bring it about lives."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert alive(), "it ended before it was ready"
        assert time.monotonic() < end, f"it was not ready within {PATIENCE} seconds"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
