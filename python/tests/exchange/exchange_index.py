"""An index's side of PEP 807 on loopback, with a knob for everything it may do wrong, and a CI
that hands out ID tokens. Real HTTP and HTTPS servers.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROBLEM = "application/problem+json"

SOURCE = Path(__file__).resolve().parents[2] / "src"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs the command with these arguments; further environment by keyword."""

_POLL_SECONDS = 0.01
"""How soon a server notices that it was closed."""


def said(run: subprocess.CompletedProcess[str]) -> str:
    """What it says to people, without the commands to GitHub."""
    return "".join(
        line for line in run.stderr.splitlines(keepends=True) if not line.startswith("::")
    )


def refused(run: subprocess.CompletedProcess[str], words: str) -> None:
    assert run.returncode == 1, run.stderr
    assert run.stdout == ""
    last = said(run).splitlines()[-1]
    assert last.startswith("mintage.exchange: ") and words in last, run.stderr
    assert "Traceback" not in run.stderr


@dataclass
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer. With `cut`, the connection ends after so many bytes of the body; with
    `dribble`, each byte waits for so many seconds, for as long as somebody reads."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    cut: int | None = None
    dribble: float = 0

    def body(self) -> bytes:
        return json.dumps(self.document).encode() if self.raw is None else self.raw


def problem(status: int, detail: str, **more: Any) -> Reply:
    document = {"type": "about:blank", "title": "No", "status": status, "detail": detail} | more
    return Reply(status, document, {"Content-Type": PROBLEM})


NOT_FOUND = Reply(404, raw=b"<h1>Not Found</h1>", headers={"Content-Type": "text/html"})

Answering = Callable[[Asked], Reply]


class Server:
    """An HTTP server (HTTPS with a certificate) that answers as `answer` says, and remembers."""

    def __init__(self, answer: Answering, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def targets(self) -> list[str]:
        return [one.target for one in self.asked]

    def _handler(owner) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                owner.asked.append(asked)
                reply = owner.answer(asked)
                body = reply.body()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.write(body if reply.cut is None else body[: reply.cut], reply.dribble)

            def write(self, body: bytes, dribble: float) -> None:
                if not dribble:
                    self.wfile.write(body)
                    return
                for byte in body:
                    time.sleep(dribble)
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        return

            do_GET = do_POST = handle_any

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Pep807:
    """The endpoints of one index. Each is a `Reply`, or several that come one after another
    until the last one stays."""

    def __init__(self, token: str, *, path: str = "/legacy/", tls: ssl.SSLContext | None = None):
        self.path = path
        self.server = Server(self._answer, tls=tls)
        self.discovery: list[Reply] = [Reply(document=self.document())]
        self.audience: list[Reply] = [Reply(document={"audience": "pypi"})]
        self.mint: list[Reply] = [
            Reply(document={"success": True, "token": token, "expires": int(time.time()) + 900})
        ]

    @property
    def upload_url(self) -> str:
        return self.server.url + self.path

    def document(self, **more: Any) -> dict[str, Any]:
        return {
            "audience-endpoint": f"{self.server.url}/trust/audience",
            "token-mint-endpoint": f"{self.server.url}/trust/mint",
            "features": ["multi-use-token", "single-use-token"],
            "default-features": ["multi-use-token"],
        } | more

    def minted(self) -> list[Asked]:
        return [one for one in self.server.asked if one.method == "POST"]

    def _answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.target)
        if parts.path == "/.well-known/pytp":
            known = parse_qs(parts.query, keep_blank_values=True).get("discover") == [self.path]
            return _next(self.discovery) if known else problem(404, "no such index")
        if parts.path in ("/trust/audience", "/_/oidc/audience"):
            return _next(self.audience)
        if parts.path in ("/trust/mint", "/_/oidc/mint-token"):
            return _next(self.mint)
        return NOT_FOUND


def _next(replies: list[Reply]) -> Reply:
    return replies.pop(0) if len(replies) > 1 else replies[0]


def jwt(audience: str, **claims: Any) -> str:
    """What looks like an ID token: `id` reads its audience, and nobody here its signature."""

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part({'aud': audience} | claims)}.c2lnbmF0dXJl"


class GitHub:
    """GitHub's local endpoint for ID tokens, and the environment of a job that may use it."""

    def __init__(self, id_token: Callable[[str], str] = jwt) -> None:
        self._id_token = id_token
        self.issued: list[str] = []
        self.server = Server(self._answer)

    def environment(self) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.server.url}/id?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner",
        }

    def _answer(self, asked: Asked) -> Reply:
        assert asked.headers["authorization"] == "bearer runner"
        (audience,) = parse_qs(urlsplit(asked.target).query)["audience"]
        self.issued.append(self._id_token(audience))
        return Reply(document={"value": self.issued[-1]})


class Authority:
    """A CA of the test's own, and a certificate of it for loopback."""

    def __init__(self, home: Path) -> None:
        self.file = home / "ca.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        ca = _builder(name, name, key.public_key(), is_ca=True).sign(key, hashes.SHA256())
        self.file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
        certificate = (
            _builder(subject, name, own.public_key(), is_ca=False)
            .add_extension(issuer, critical=False)  # Python 3.13 asks for it
            .sign(key, hashes.SHA256())
        )
        pair = home / "server.pem"
        pair.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        self.server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_side.load_cert_chain(pair)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName("localhost"),
    ]
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=is_ca, crl_sign=is_ca,
        encipher_only=False, decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
