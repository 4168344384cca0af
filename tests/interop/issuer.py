"""A small OIDC issuer: a discovery document, a key set, and RS256 ID tokens as
GitHub would hand them to a job."""

import base64
import http.server
import json
import threading
import time
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KID = "interop"


class Issuer:
    def __init__(self):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def id_token(self, audience, repository="octo/sampleproject", **claims):
        """An ID token for the workflow release.yml of a repository."""
        now = int(time.time())
        owner = repository.split("/")[0]
        claims = {
            "iss": self.url,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "sub": f"repo:{repository}:ref:refs/heads/main",
            "repository": repository,
            "repository_owner": owner,
            "repository_owner_id": "1",
            "repository_id": "2",
            "ref": "refs/heads/main",
            "sha": "0123456789abcdef0123456789abcdef01234567",
            "event_name": "release",
            "job_workflow_ref": f"{repository}/.github/workflows/release.yml@refs/heads/main",
            "workflow_ref": f"{repository}/.github/workflows/release.yml@refs/heads/main",
        } | claims
        return self.sign(claims)

    def sign(self, claims):
        """A token of exactly these claims."""
        message = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': KID})}.{_part(claims)}"
        signature = self._key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{message}.{_base64url(signature)}"

    def _documents(self):
        public = self._key.public_key().public_numbers()
        jwk = {"kty": "RSA", "kid": KID, "use": "sig", "alg": "RS256",
               "n": _number(public.n), "e": _number(public.e)}
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/jwks": {"keys": [jwk]},
        }

    def _handler(issuer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                document = issuer._documents().get(self.path)
                body = json.dumps(document).encode()
                self.send_response(404 if document is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def _base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _part(value):
    return _base64url(json.dumps(value).encode())


def _number(value):
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
