"""An installation on loopback: replicas of the real service with one Redis, two issuers, and a real
Prometheus that scrapes them under the alerts of the chart."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.certificates import Authority
from kit.identities import Issuer
from kit.mintage import AUDIENCE, redis_server
from kit.mintage import Redis as KitRedis
from kit.places import BINARY, REPOSITORY
from kit.processes import Server, answers, free_port, wait_until

from places import RULES

INDEX = "pypi"
CALLERS = {"web": "web-token", "scanner": "scanner-token"}
"""Tokens by name; on loopback they keep nobody out."""


class Provider(Issuer):
    """An OIDC issuer that may be down. It lets its key set be kept for a minute."""

    down = False

    def _documents(self) -> dict[str, Any]:
        return {} if self.down else super()._documents()

    def _handler(self) -> Any:
        handler = super()._handler()
        plain = handler.end_headers

        def end_headers(request: http.server.BaseHTTPRequestHandler) -> None:
            request.send_header("Cache-Control", "max-age=60")
            plain(request)

        handler.end_headers = end_headers
        return handler


class Redis(KitRedis):
    """One that can be stopped in its tracks."""

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._server._process.pid, number)


class Replica:
    """`mintage serve`, with the keyring and the store that its siblings have."""

    def __init__(self, folder: Path, config: str, *, tls: str = "") -> None:
        folder.mkdir()
        port, self.admin_port = free_port(), free_port()
        self.address, self.admin = f"127.0.0.1:{port}", f"127.0.0.1:{self.admin_port}"
        file = folder / "mintage.toml"
        listening = f'listen = "{self.address}"\nadmin_listen = "{self.admin}"\n'
        file.write_text(listening + config + tls)
        self.server = Server([BINARY, "serve", "--config", file], folder / "mintage.log")
        self.server.wait_until(lambda: answers(self.admin_port, "/readyz"), "mintage is ready")

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=30) as answer:
            return str(answer.read().decode())


class Prometheus:
    """A real one, which scrapes the replicas and evaluates the rules every so many seconds."""

    def __init__(self, program: str, folder: Path, targets: list[str], seconds: int) -> None:
        folder.mkdir()
        self._port = free_port()
        config = {
            "global": {"scrape_interval": f"{seconds}s", "evaluation_interval": f"{seconds}s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "mintage", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
        command = [
            program, f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self.server = Server(command, folder / "prometheus.log")
        self.server.wait_until(lambda: answers(self._port, "/-/ready"), "Prometheus is ready")

    def query(self, expression: str, **parameters: object) -> list[dict[str, Any]]:
        """What it is now, as a vector."""
        data = self._get("query", query=expression, **parameters)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return list(data["result"])

    def over_time(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        return list(self._get("query_range", query=expression, start=start, end=end, step=step)["result"])

    def alerts(self) -> set[str]:
        """Those whose expression is true now, however long it has to be for them to fire."""
        return {alert["labels"]["alertname"] for alert in self._get("alerts")["alerts"]}

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: object) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self._port}/api/v1/{what}?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return dict(json.load(answer)["data"])


class Installation:
    """Three replicas, of which the last has TLS, a Redis and two issuers."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, settings: str = "") -> None:
        if not BINARY.is_file():
            subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=REPOSITORY, check=True)
        self.github, self.gitlab = Provider(), Provider()
        stack.callback(self.github.close)
        stack.callback(self.gitlab.close)
        program = redis_server()
        assert program is not None, "there is no redis-server; see scripts/redis-server"
        self.redis = Redis(program, folder / "redis")
        stack.callback(self.redis.stop)
        self.keys = folder / "keys"
        config = self._config(settings)
        certificate = Authority(folder).certificate("localhost")
        tls = f"\n[server.tls]\ncertificate_file = '{certificate.certificate}'\nkey_file = '{certificate.key}'\n"
        self.replicas = []
        for number in range(3):
            replica = Replica(folder / f"replica-{number}", config, tls=tls if number == 2 else "")
            stack.callback(replica.server.stop)
            self.replicas.append(replica)

    @property
    def plain(self) -> list[str]:
        """Where the replicas without TLS are."""
        return [replica.address for replica in self.replicas[:2]]

    @property
    def admins(self) -> list[str]:
        return [replica.admin for replica in self.replicas]

    @contextlib.contextmanager
    def paused_redis(self) -> Iterator[None]:
        """It holds its connections and answers nothing."""
        self.redis.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.redis.signal(signal.SIGCONT)

    def _config(self, settings: str) -> str:
        made = subprocess.run(
            [BINARY, "keys", "generate", "--directory", self.keys],
            check=True, capture_output=True, text=True,
        )
        issuers = {self.github.url: "github", self.gitlab.url: "gitlab"}
        tables = [
            f'[[issuers]]\nurl = "{url}"\nprovider = "{provider}"\nmax_stale = "5m"\n'
            for url, provider in issuers.items()
        ]
        for name, token in CALLERS.items():
            digest = hashlib.sha256(token.encode()).hexdigest()
            may = '["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]'
            tables.append(f'[[callers]]\nname = "{name}"\ntoken_sha256 = "{digest}"\nmay = {may}\n')
        return f"""
[keyring]
directory = "{self.keys}"
current = "{made.stdout.split()[-1]}"

[store]
{self.redis.store}

{"".join(tables)}
[indexes.{INDEX}]
audience = "{AUDIENCE}"
location = "index.example"
prefix = "pypi"
issuers = {json.dumps(list(issuers))}
extended_caveats = true
lifetime = "15m"
features = ["multi-use-token", "single-use-token"]
default_features = ["multi-use-token"]
{settings}
"""
