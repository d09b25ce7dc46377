"""A query as bytes for executors: its plan, and with it the user's functions, wherever these were written."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cloudpickle

from tidemill.errors import AnalysisException
from tidemill.executor.host import Shipment
from tidemill.executor.work import Work

_beside: set[Path] = set()
_installed = tuple(Path(p) for k, p in sysconfig.get_paths().items() if k.endswith(("lib", "stdlib")))


def ship_modules_of(directory: Path) -> None:
    """Modules below ``directory`` are the program's own: executors, which need not have them, get them with it."""
    _beside.add(directory.resolve())


def ship(work: Work) -> bytes:
    """The query as bytes for executors; `AnalysisException` naming what cannot be shipped."""
    assert work.recipe is not None
    shipment = Shipment(
        work.query, work.plan, work.columns, work.statics, work.shards, work.recipe, work.name
    )
    for module in _own():
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(shipment)
    except Exception as error:
        raise AnalysisException(
            f"the query cannot be sent to executors: {culprit(shipment) or error}; user functions must not hold "
            "connections, locks or open files: make those inside the function"
        ) from error


def _own() -> Iterator[ModuleType]:
    """The imported modules of the program; what is installed is so on executors too."""
    beside = {*_beside, *_of_main()}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name == "__main__" or name.partition(".")[0] == "tidemill":
            continue
        path = Path(file).resolve()
        if any(path.is_relative_to(d) for d in beside) and not any(
            path.is_relative_to(d) for d in _installed
        ):
            yield module


def _of_main() -> Iterator[Path]:
    """Where a program lies that was started as ``python FILE``; one that is installed has none of its own beside it."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is not None and main.__spec__ is None:
        directory = Path(file).resolve().parent
        if directory != Path(sysconfig.get_path("scripts")).resolve():
            yield directory


def culprit(shipment: Shipment) -> str | None:
    """Which part does not pickle, and what Python says of it."""
    named: list[tuple[str, object]] = []
    for stage in shipment.plan.stages:
        functions = [
            *(f for part in stage.fragments for f in part.functions),
            *getattr(stage.operator, "functions", ()),
        ]
        named += [(f"function {f.name!r}", f) for f in functions]
        if function := getattr(stage.operator, "function", None):
            named.append(("a function of whole batches (mapInPandas, applyInPandas, ...)", function))
    named += [(f"source {i}", s) for i, s in enumerate(shipment.recipe.sources)]
    named += [("the sink", shipment.recipe.sink), ("the checkpoint's store", shipment.recipe.store)]
    for name, part in named:
        try:
            cloudpickle.dumps(part)
        except Exception as error:
            return f"{name}: {error}"
    return None
