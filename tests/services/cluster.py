"""Executors for tests, and sessions whose queries run on them."""

from __future__ import annotations

from tidemill.config import Config
from tidemill.engine.base import Engine
from tidemill.engine.local import LocalEngine
from tidemill.launch import Context
from tidemill.sql import SparkSession


def session_on(engine: Engine, **conf: str) -> SparkSession:
    """A session of its own that runs streams on ``engine``, which it leaves open."""
    context = Context(_local=engine) if isinstance(engine, LocalEngine) else Context(cluster=engine)
    session = SparkSession(Config({}), context)
    for key, value in {"spark.sql.session.timeZone": "UTC", **conf}.items():
        session.conf.set(key, value)
    return session


def stop(session: SparkSession) -> None:
    """Stop its queries and forget it, so that no later test gets it; the engine that it was lent stays."""
    for query in session.streams.active:
        query.stop()
    assert session._context is not None
    session._context.cluster = None
    session.stop()
