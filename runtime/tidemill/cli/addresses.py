"""Addresses and certificates as the commands of a cluster take them."""

from __future__ import annotations

import socket

import typer

from tidemill.errors import TidemillError

TLS_CA = typer.Option(
    help="PEM file of the job's CA: who has a certificate of it belongs to the job.",
    envvar="TIDEMILL_TLS_CA",
    show_default=False,
)
TLS_CERT = typer.Option(
    help="PEM file of this process's certificate.", envvar="TIDEMILL_TLS_CERT", show_default=False
)
TLS_KEY = typer.Option(help="PEM file of its key.", envvar="TIDEMILL_TLS_KEY", show_default=False)
HEALTH_PORT = typer.Option(
    -1,
    min=-1,
    max=65_535,
    help="Serve /livez, /readyz, /metrics and /api/v1/status on this port; 0: any; -1: do not.",
    show_default=False,
)
HEALTH_HOST = typer.Option("0.0.0.0", help="The address for --health-port; plain HTTP.")


def count(name: str) -> int:
    """How many addresses a name has just now; 0 if it is not known.

    >>> count("no.such.name.invalid")
    0
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return 0
    return len({address[0] for *_, address in found})


def address_of(text: str, option: str) -> tuple[str, int]:
    """The host and port of ``[tls://]HOST:PORT``; an IPv6 host stands in brackets.

    >>> address_of("tls://[::1]:8786", "--driver")
    ('::1', 8786)
    """
    scheme, _, rest = text.rpartition("://")
    host, _, port = rest.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if scheme not in ("", "tls"):
        raise TidemillError(
            f"{option} {text!r}: {scheme!r} is not spoken between the processes of a job; write tls://HOST:PORT"
        )
    if not host or not port.isdigit() or int(port) > 65_535 or (":" in host and not bracketed):
        raise TidemillError(f"{option} {text!r} is no address; write HOST:PORT, such as 127.0.0.1:8786")
    return (host[1:-1] if bracketed else host), int(port)
