"""Trusted publishing (PEP 807) for devpi-server, as a plugin.

devpi-server finds it by its entry point. It does nothing unless `--mintage` says where Mintage
is. Then each index that a publisher in the file `--mintage-publishers` names serves PEP 807's
endpoints, and takes uploads of the user `__token__` after Mintage has said yes to the project,
version, file name and SHA-256. devpi's own rules stay in force: the index's `acl_upload` has to
name the group `:trusted-publisher`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from devpi_server.config import hookimpl

import mintage
from mintage.publishers import Publishers, PublishersError

from ._identity import TrustedPublisher, admitted
from ._tween import Gate

__all__ = [
    "TrustedPublisher",
    "devpiserver_add_parser_options",
    "devpiserver_get_identity",
    "devpiserver_pyramid_configure",
]


@hookimpl
def devpiserver_add_parser_options(parser: Any) -> None:
    """The plugin's options."""
    group = parser.addgroup("trusted publishing")
    group.addoption(
        "--mintage", metavar="HOST:PORT", default=None, help="where the service Mintage is"
    )
    group.addoption(
        "--mintage-publishers", metavar="FILE", default=None, help="TOML file of publishers"
    )
    group.addoption("--mintage-audience", default="devpi", help="the audience of ID tokens [devpi]")
    group.addoption(
        "--mintage-index", default="", help="the index's name in Mintage's configuration"
    )
    group.addoption(
        "--mintage-caller-token-file",
        metavar="FILE",
        default=None,
        help="the token that proves to Mintage who calls",
    )


@hookimpl
def devpiserver_pyramid_configure(config: Any, pyramid_config: Any) -> None:
    """Puts the gate before devpi's views, and before the transaction that they run in."""
    args = config.args
    if not args.mintage:
        return
    client = mintage.Client(
        args.mintage, index=args.mintage_index, caller_token=_caller_token(args)
    )
    gate = Gate(
        client,
        _publishers(args),
        args.mintage_audience,
        args.mintage_index,
        trusts_its_proxy=args.trusted_proxy is not None,
    )
    pyramid_config.registry["mintage_gate"] = gate
    pyramid_config.add_tween(
        "mintage_devpi._tween.factory",
        under="devpi_server.views.tween_request_logging",
        over="devpi_server.views.tween_keyfs_transaction",
    )


@hookimpl
def devpiserver_get_identity(request: Any, credentials: Any) -> TrustedPublisher | None:
    """Who the gate has let through, for this one request; otherwise others may know."""
    return admitted(request)


def _publishers(args: argparse.Namespace) -> dict[str, Publishers]:
    # Only now: devpi's main module is the one that loads plugins.
    from devpi_server.main import Fatal

    if not args.mintage_publishers:
        raise Fatal("--mintage needs --mintage-publishers")
    try:
        publishers = Publishers.by_index(args.mintage_publishers)
    except PublishersError as error:
        raise Fatal(f"{args.mintage_publishers}: {error}") from error
    for name in publishers:
        if name.count("/") != 1:
            raise Fatal(f"{args.mintage_publishers}: `index` is user/index, not {name!r}")
    return publishers


def _caller_token(args: argparse.Namespace) -> str | None:
    path = args.mintage_caller_token_file
    return Path(path).read_text().strip() if path else None
