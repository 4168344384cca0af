"""TLS and mutual TLS, before a front that ends them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support import Front, Service
from support.certificates import Authority

import mintage


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def front(service: Service, authority: Authority) -> Iterator[Front]:
    certificate, key = authority.issue("mintage.internal", "127.0.0.1")
    with Front(service.address, credentials=_server(certificate, key)) as front:
        yield front


def test_the_authority_vouches_for_the_service(
    make_client: Any, front: Front, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    for ca in (authority.pem, path, str(path)):
        client = make_client(front.address, credentials=mintage.tls(ca=ca))
        assert client.mint_for_user("42").token


def test_another_authority_does_not(make_client: Any, front: Front) -> None:
    for ca in (Authority("another").pem, None):
        client = make_client(front.address, credentials=mintage.tls(ca=ca))
        with pytest.raises(mintage.Unavailable):
            client.mint_for_user("42")
    assert front.calls == []


def test_a_certificate_for_another_name_is_refused(
    make_client: Any, service: Service, authority: Authority
) -> None:
    certificate, key = authority.issue("other.internal")
    with Front(service.address, credentials=_server(certificate, key)) as front:
        client = make_client(front.address, credentials=mintage.tls(ca=authority.pem))
        with pytest.raises(mintage.Unavailable):
            client.mint_for_user("42")
        assert front.calls == []


def test_several_addresses_are_held_to_one_name(
    make_client: Any, service: Service, authority: Authority
) -> None:
    credentials = mintage.tls(ca=authority.pem)
    certificate, key = authority.issue("mintage.internal")
    with (
        Front(service.address, credentials=_server(certificate, key)) as first,
        Front(service.address, credentials=_server(certificate, key)) as second,
    ):
        where = (first.address, second.address)
        named = make_client(*where, credentials=credentials, server_name="mintage.internal")
        for _ in range(10):
            assert named.mint_for_user("42").token
        assert first.calls and second.calls
        other = make_client(*where, credentials=credentials, server_name="other.internal")
        with pytest.raises(mintage.Unavailable):
            other.mint_for_user("42")
        with pytest.raises(ValueError, match="server_name"):
            make_client(*where, credentials=credentials)


def test_a_client_proves_itself_by_its_certificate(
    make_client: Any, service: Service, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("127.0.0.1")
    own, own_key = authority.issue("web")
    (tmp_path / "web.pem").write_bytes(own)
    (tmp_path / "web.key").write_bytes(own_key)
    server = _server(certificate, key, authority.pem)
    with Front(service.address, credentials=server) as front:
        for certificates in (
            {"certificate": own, "key": own_key},
            {"certificate": tmp_path / "web.pem", "key": tmp_path / "web.key"},
        ):
            credentials = mintage.tls(ca=authority.pem, **certificates)
            assert make_client(front.address, credentials=credentials).mint_for_user("42").token
        strange, strange_key = Authority("another").issue("web")
        for credentials in (
            mintage.tls(ca=authority.pem),
            mintage.tls(ca=authority.pem, certificate=strange, key=strange_key),
        ):
            with pytest.raises(mintage.Unavailable):
                make_client(front.address, credentials=credentials).mint_for_user("42")
        assert len(front.calls) == 2


def test_a_certificate_and_its_key_belong_together() -> None:
    with pytest.raises(ValueError):
        mintage.tls(certificate=b"x")
    with pytest.raises(ValueError):
        mintage.tls(key=b"x")


def test_nothing_is_sent_in_the_clear_to_a_port_without_tls(
    make_client: Any, service: Service, authority: Authority
) -> None:
    client = make_client(service.address, credentials=mintage.tls(ca=authority.pem))
    with pytest.raises(mintage.Unavailable):
        client.mint_for_user("42")


def _server(certificate: bytes, key: bytes, client_ca: bytes | None = None) -> Any:
    return grpc.ssl_server_credentials([(key, certificate)], client_ca, client_ca is not None)
