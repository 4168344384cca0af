"""TLS as Python's own gRPC client speaks it (BoringSSL, where the tests in Rust
have rustls at both ends), with certificates made by Python's `cryptography`."""

import datetime
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conftest import INDEX, running
from mintage.v1 import token_service_pb2, token_service_pb2_grpc

SPIFFE_ID = "spiffe://index.internal/web"
WEB_NAME = "web.index.internal"

CONFIGURATION = f"""
[server.tls]
certificate_file = "server.pem"
key_file = "server.key"
client_ca_file = "clients.pem"

[[callers]]
name = "web by id"
san = "{SPIFFE_ID}"
may = ["mint-user"]

[[callers]]
name = "web by name"
san = "{WEB_NAME}"
may = ["verify"]
"""


def _pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Authority:
    """Signs certificates with an RSA key, as many companies' authorities do."""

    def __init__(self, name):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = self._sign(self._name, self._key.public_key(), (constraints, True))

    def identity(self, key, names, usage):
        """A certificate of these names for this use, and its key, in PEM."""
        certificate = self._sign(
            x509.Name([]),
            key.public_key(),
            (x509.SubjectAlternativeName(names), True),
            (x509.ExtendedKeyUsage([usage]), False),
        )
        return certificate, _pem(key)

    def _sign(self, subject, public_key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)


CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@pytest.fixture(scope="module")
def servers():
    return Authority("of servers")


@pytest.fixture(scope="module")
def clients():
    return Authority("of clients")


@pytest.fixture(scope="module")
def dial(tmp_path_factory, issuer, servers, clients):
    """Opens a channel that shows this certificate, or none, to a service that
    asks for one."""
    home = tmp_path_factory.mktemp("tls")
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate, key = servers.identity(key, [loopback], SERVER)
    (home / "server.pem").write_bytes(certificate)
    (home / "server.key").write_bytes(key)
    (home / "clients.pem").write_bytes(clients.pem)

    def open_channel(address, own=(None, None)):
        certificate, key = own
        return grpc.secure_channel(
            address, grpc.ssl_channel_credentials(servers.pem, key, certificate)
        )

    known = _client(clients, x509.UniformResourceIdentifier(SPIFFE_ID))
    with running(
        home, issuer.url, CONFIGURATION, lambda address: open_channel(address, known)
    ) as service:
        yield lambda own: open_channel(service.address, own)


def _client(authority, name, usage=CLIENT):
    return authority.identity(ec.generate_private_key(ec.SECP256R1()), [name], usage)


def _mint(channel):
    request = token_service_pb2.MintRequest(
        index=INDEX, user=token_service_pb2.User(user_id="42")
    )
    with channel:
        return token_service_pb2_grpc.TokenServiceStub(channel).Mint(request, timeout=60)


def test_a_caller_is_known_by_its_certificate(dial, clients):
    channel = dial(_client(clients, x509.UniformResourceIdentifier(SPIFFE_ID)))
    assert _mint(channel).token.startswith("pypi-AgE")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (x509.DNSName(WEB_NAME), grpc.StatusCode.PERMISSION_DENIED),
        (x509.DNSName("stranger.internal"), grpc.StatusCode.UNAUTHENTICATED),
        (x509.UniformResourceIdentifier(SPIFFE_ID + "/other"), grpc.StatusCode.UNAUTHENTICATED),
        (x509.RFC822Name("web@index.internal"), grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_another_certificate_is_refused_by_the_service(dial, clients, name, code):
    with pytest.raises(grpc.RpcError) as refused:
        _mint(dial(_client(clients, name)))
    assert refused.value.code() == code


def test_without_a_good_certificate_nobody_comes_in(dial, clients):
    name = x509.UniformResourceIdentifier(SPIFFE_ID)
    for own in [
        (None, None),
        _client(Authority("of clients"), name),
        _client(clients, name, usage=SERVER),
    ]:
        with pytest.raises(grpc.RpcError) as refused:
            _mint(dial(own))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
