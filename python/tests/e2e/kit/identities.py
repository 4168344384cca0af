"""CI providers: what a job finds in its environment, and the ID tokens that it gets there."""

from __future__ import annotations

import http.server
import json
import secrets
import threading
import time
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

from issuer import Issuer

__all__ = ["GitHubJob", "GitLabJob", "Issuer"]

SHA = "0123456789abcdef0123456789abcdef01234567"


class GitHubJob:
    """A job on GitHub Actions: its environment names an endpoint that hands out ID tokens.

    `claims` differ from those of `.github/workflows/release.yml` in the repository; with `replay`
    the endpoint hands out the same token again and again, as a cache would.
    """

    def __init__(self, issuer: Issuer, repository: str, **claims: str) -> None:
        self.replay = False
        self._issuer, self._repository, self._claims = issuer, repository, claims
        self._bearer = secrets.token_urlsafe()
        self._last = ""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{self._server.server_port}/?api=1",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self._bearer,
        }

    def id_token(self, audience: str) -> str:
        if not (self.replay and self._last):
            claims = {"repository_owner_id": "1"} | self._claims
            self._last = self._issuer.id_token(audience, self._repository, **claims)
        return self._last

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(job) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
                authorized = scheme.lower() == "bearer" and bearer == job._bearer
                audience = parse_qs(urlsplit(self.path).query).get("audience", [""])[0]
                body = json.dumps({"value": job.id_token(audience)} if authorized else {}).encode()
                self.send_response(200 if authorized else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class GitLabJob:
    """A job on GitLab CI/CD: the ID token is in a variable named after its audience."""

    def __init__(self, issuer: Issuer, project_path: str, audience: str, **claims: str) -> None:
        self._issuer, self._path = issuer, project_path
        self._audience, self._claims = audience, claims

    @property
    def environment(self) -> dict[str, str]:
        return {"GITLAB_CI": "true", f"{self._audience.upper()}_ID_TOKEN": self.id_token()}

    def id_token(self) -> str:
        now = int(time.time())
        host = urlsplit(self._issuer.url).netloc
        claims: dict[str, Any] = {
            "iss": self._issuer.url,
            "aud": self._audience,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "sub": f"project_path:{self._path}:ref_type:branch:ref:main",
            "namespace_id": "7",
            "namespace_path": self._path.rpartition("/")[0],
            "project_id": "8",
            "project_path": self._path,
            "pipeline_source": "push",
            "ref": "main",
            "ref_type": "branch",
            "ref_path": "refs/heads/main",
            "sha": SHA,
            "ci_config_ref_uri": f"{host}/{self._path}//.gitlab-ci.yml@refs/heads/main",
        }
        return str(self._issuer.sign(claims | self._claims))
