"""The pages that a process shows to who watches it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter

from tidemill.errors import TidemillError
from tidemill.health import DEAD, HealthServer, Heartbeat, Probes


@dataclass
class Subject:
    """A process as its probes see it."""

    dead: str = ""
    unready: str = ""
    broken: bool = False

    def status(self) -> dict[str, object]:
        if self.broken:
            raise RuntimeError("secret")
        return {"job": "été", "queries": []}


@pytest.fixture
def subject() -> Subject:
    return Subject()


@pytest.fixture
def server(subject: Subject) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Counter("tidemill_things_total", "Things.", registry=registry).inc(3)
    probes = Probes(lambda: subject.dead, lambda: subject.unready, subject.status, registry)
    made = HealthServer(probes, 0)
    yield made
    made.close()


def get(server: HealthServer, path: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_probes_answer_with_the_reason_why_not(server: HealthServer, subject: Subject) -> None:
    assert get(server, "/livez")[::2] == get(server, "/readyz?verbose")[::2] == (200, "ok\n")
    subject.unready = "no executor has joined"
    assert get(server, "/livez")[0] == 200
    assert get(server, "/readyz")[::2] == (503, "no executor has joined\n")
    subject.dead = "the event loop has not turned for 31 s"
    assert get(server, "/livez")[::2] == get(server, "/readyz")[::2] == (503, f"{subject.dead}\n")


def test_status_is_json(server: HealthServer) -> None:
    code, kind, text = get(server, "/api/v1/status")
    assert (code, kind, json.loads(text)) == (200, "application/json", {"job": "été", "queries": []})


def test_an_error_on_a_page_goes_to_the_log_and_not_to_the_reader(
    server: HealthServer, subject: Subject
) -> None:
    subject.broken = True
    code, _, text = get(server, "/api/v1/status")
    assert code == 500 and "secret" not in text
    subject.broken = False
    assert get(server, "/api/v1/status")[0] == 200


def test_metrics_come_in_the_form_that_is_asked_for(server: HealthServer) -> None:
    code, kind, text = get(server, "/metrics")
    assert code == 200 and kind.startswith("text/plain") and "tidemill_things_total 3.0" in text
    assert get(server, "/metrics", Accept="application/openmetrics-text")[2].endswith("# EOF\n")


def test_other_pages_name_those_that_there_are(server: HealthServer) -> None:
    code, _, text = get(server, "/status")
    assert code == 404 and "/livez, /readyz, /metrics, /api/v1/status" in text


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server, "/livez")[0] == 200


def test_a_port_in_use_is_named(server: HealthServer) -> None:
    with pytest.raises(TidemillError, match=f"127.0.0.1:{server.port}: .*choose another port"):
        HealthServer(Probes(), server.port)


def test_an_event_loop_that_stands_still_is_noticed() -> None:
    now = [0.0]
    heart = Heartbeat(lambda: now[0])
    now[0] = DEAD
    assert heart.trouble == ""
    now[0] = DEAD + 1
    assert heart.trouble == "the event loop has not turned for 31 s"
    heart.beat()
    assert heart.trouble == ""
