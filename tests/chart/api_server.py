"""As much of a Kubernetes API server as Helm asks for when it looks an object up: which kinds there
are, and Secrets that exist. It counts what it was asked, and takes nothing."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any

from rendered import Document

def _kind(kind: str) -> Document:
    name = kind.lower()
    return {"name": f"{name}s", "singularName": name, "namespaced": True, "kind": kind,
            "verbs": ["get", "list"]}


def _kinds(version: str, *kinds: str) -> Document:
    resources = [_kind(kind) for kind in kinds]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


APPS = {"groupVersion": "apps/v1", "version": "v1"}

ALWAYS: dict[str, Document] = {
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
        {"name": "apps", "versions": [APPS], "preferredVersion": APPS},
    ]},
    "/api/v1": _kinds("v1", "ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"),
    "/apis/apps/v1": _kinds("apps/v1", "Deployment"),
}


class ApiServer:
    """Serves on loopback until it is closed."""

    def __init__(self) -> None:
        self.secrets: dict[str, Document] = {}
        """By path, as they are answered."""
        self.asked: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, secret: Document) -> None:
        of = secret["metadata"]
        self.secrets[f"/api/v1/namespaces/{of['namespace']}/secrets/{of['name']}"] = secret

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(api) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                api.asked.append(path)
                found = ALWAYS.get(path) or api.secrets.get(path)
                missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                           "reason": "NotFound", "code": 404}
                self._answer(200 if found else 404, found or missing)

            def _answer(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
