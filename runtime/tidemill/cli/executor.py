"""``tidemill executor``: a process that does a driver's work."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import NoReturn

import typer

from tidemill import logs
from tidemill.cli import addresses, termination
from tidemill.cli.run import LogFormat, ends_at_once
from tidemill.errors import TidemillError
from tidemill.tls import TlsFiles


def command(
    driver: str = typer.Option(help="The driver's address: tls://HOST:PORT.", show_default=False),
    name: str = typer.Option(
        "", help="What it is called in logs and metrics; the host's name and its process by default."
    ),
    threads: int = typer.Option(0, min=0, help="Threads that compute; 0: one for each processor."),
    listen: str = typer.Option(
        "", help="The address at which other executors reach it; found out by default."
    ),
    tls_ca: Path = addresses.TLS_CA,
    tls_cert: Path = addresses.TLS_CERT,
    tls_key: Path = addresses.TLS_KEY,
    health_port: int = addresses.HEALTH_PORT,
    health_host: str = addresses.HEALTH_HOST,
    log_format: LogFormat = typer.Option(LogFormat.text, help="How log lines are written."),
    with_parent: bool = typer.Option(False, hidden=True, help="End when standard input does."),
) -> None:
    """Do the work of the driver of a job until told to stop: then finish the batch, and leave."""
    name = name or _own_name()
    logs.configure(log_format.value)
    logs.of_process(executor=name)
    health = (health_host, health_port) if health_port >= 0 else None
    files = TlsFiles(tls_ca, tls_cert, tls_key)
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with ends_at_once():
        try:
            from tidemill.executor import worker
        except ImportError as error:
            _refuse(f"executors need: pip install 'tidemill[cluster]' ({error})")
        try:
            addresses.address_of(driver, "--driver")
            files.check()
            worker.run(driver, name, files, threads or None, listen, health)
        except (TidemillError, ValueError) as error:
            _refuse(f"executor {name}: {error}")


def _refuse(text: str) -> NoReturn:
    typer.echo(text, err=True)
    termination.because(text)
    raise typer.Exit(2) from None


def _own_name() -> str:
    """The host's name, which in a pod is its own; where other processes are, with this one's number."""
    host, process = socket.gethostname(), os.getpid()
    return host if process == 1 else f"{host}-{process}"


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock a thread must not hold at the end
        pass
    os._exit(0)
