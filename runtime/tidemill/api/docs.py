"""``docs/manifest.md``, generated from the models.

python -m tidemill.api.docs [--check] docs/
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tidemill.api.base import EXPLANATIONS, Part
from tidemill.api.crd import structural
from tidemill.api.formats import ROLES, Format, Option
from tidemill.api.generate import arguments, write_or_check
from tidemill.api.job import StreamingJob
from tidemill.api.load import fields_of, part_of
from tidemill.api.status import Status

COMMAND = "python -m tidemill.api.docs docs/"
FILE = "manifest.md"
_LONGEST_PATTERN = 60
"""Nobody reads a longer one; the description says what it means."""

EXAMPLE = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: web-logs}
spec:
  sources:
    - name: access
      format: kafka
      options:
        kafka.bootstrap.servers: kafka:9092
        kafka.security.protocol: SASL_SSL
        kafka.sasl.mechanism: SCRAM-SHA-512
        kafka.sasl.username: ${KAFKA_USER}
        kafka.sasl.password: {secretRef: {name: kafka, key: password}}
        subscribe: web-access
        startingOffsets: earliest
      decode:
        format: json
        schema: datum TIMESTAMP, host STRING, path STRING, status INT, bytes BIGINT
        metadata: [partition, offset]
      watermark: {eventTime: datum, delay: 60 seconds}
      dropDuplicates: {columns: [host, path, datum], withinWatermark: true}
      deadLetter: {format: json, options: {path: out/bad}}
  tables:
    - {name: hosts, format: csv, options: {path: hosts.csv, header: true}, schema: "host STRING, team STRING"}
  queries:
    - name: raw
      sql: SELECT * FROM access
      trigger: {processingTime: 1 minute}
      sink: {format: parquet, options: {path: out/raw}}
    - name: hits
      sql: |
        SELECT window(datum, '60 seconds').start AS minute, team, count(*) AS hits
        FROM access JOIN hosts USING (host)
        GROUP BY window(datum, '60 seconds'), team
      sink:
        format: kafka
        options: {kafka.bootstrap.servers: "kafka:9092", topic: hits}
        encode: {format: json}
        key: [team]
  stopAt: 03:00 Europe/Paris
  conf: {spark.sql.session.timeZone: UTC}
  executor: {replicas: 2}
"""

_INTRODUCTION = """\
# The manifest

<!-- Generated from the models in runtime/tidemill/api; to change it, change them and run: @COMMAND@ -->

A `StreamingJob` says what runs. `tidemill validate job.yaml` checks it, `tidemill run job.yaml` runs it on this
machine, and `kubectl apply -f job.yaml` runs the same file on a cluster.

```yaml
@EXAMPLE@```

## How it is read

- **Strictly.** An unknown field, a key that is written twice and a value of a wrong type are refused, all of a file at
  once, each with its line and the nearest name that is right:
  `line 24: spec.queries[0].outputMod: unknown field; did you mean 'outputMode'?`
- **As kubectl reads it.** What YAML readers disagree on has to be quoted: `on`, `yes` and `n` (booleans to kubectl),
  `0644` and `1_000` (other numbers). `03:00` and `2013-07-01` are texts and need no quotes. A field without a value
  (`watermark:`) is a field left out.
- **One job in a file.** Other kinds (a ConfigMap, a Secret) may lie beside it.
- **Option values** (`options`, `conf`) are texts, numbers or booleans; inside they are all texts: `true` is "true".
  Their names are Spark's, in any case.

## On a cluster

- **What the API server refuses** when a manifest is applied: unknown fields, wrong types and values, names, durations,
  schedules, time zones, and the rules below. What it cannot see (options, schemas and their columns) the operator
  sees a moment later: the job is then there, in the phase `Refused`, with the message that `tidemill validate` gives.
- **`kubectl get sj`** lists phase, executors (ready and wanted), lag, the last batch and, where something is wrong, why;
  `-o wide` adds revision, image and the next planned restart. `kubectl describe` tells all.
- **`kubectl explain sj.spec.restarts`** and the like say what stands in this page.
- **`kubectl scale sj NAME --replicas=3`** sets `executor.replicas`, and so does an autoscaler; leave the field out of a
  manifest whose job is scaled so.

## Secrets

`${NAME}` in an option, in `conf`, in a program's `args` or in `checkpoint.location` is replaced by the environment
variable NAME. `secretRef: {name: kafka, key: password}` in place of an option's value (or
`${secret:kafka/password}` inside one) stands for a key of a Kubernetes Secret. On a laptop it is read from the file
`$TIDEMILL_SECRETS_DIR/kafka/password`, and without such a file from the environment variable `KAFKA_PASSWORD`.
`$${` stands for the characters `${`. Secrets are looked up when a source or sink is opened; plans, checkpoints, logs
and messages hold the reference or `***`, never the value.

## Fields
"""


def text() -> str:
    """The page."""
    parts = [_INTRODUCTION.replace("@EXAMPLE@", EXAMPLE).replace("@COMMAND@", COMMAND)]
    parts += [_table(path, model) for path, model in _models(StreamingJob, "")]
    parts += [_table(path, model) for path, model in _models(Status, "status")]
    parts.append(_formats())
    return "\n".join(parts)


def _models(model: type[Part], path: str) -> Iterator[tuple[str, type[Part]]]:
    yield path, model
    for field in model.model_fields.values():
        if below := part_of(field.annotation):
            many = "[]" if "list" in str(field.annotation) else ""
            yield from _models(below, f"{path}.{field.alias}{many}".lstrip("."))


def _table(path: str, model: type[Part]) -> str:
    schema = structural(model)
    lines = [f"### {path or 'StreamingJob'}\n", f"{' '.join((model.__doc__ or '').split())}\n"]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", ())
    below = fields_of(model)
    for name, said in schema["properties"].items():
        default = "**required**" if name in required else _default(said)
        lines.append(f"| `{name}` | {_type(name, said, below[name])} | {default} | {_cell(_meaning(said))} |")
    rules = schema.get("x-kubernetes-validations", ())
    lines += _rules("Rules, which the API server holds too", [r for r in rules if "oldSelf" not in r["rule"]])
    lines += _rules("What cannot be changed on a cluster", [r for r in rules if "oldSelf" in r["rule"]])
    return "\n".join(lines) + "\n"


def _rules(title: str, rules: list[dict[str, str]]) -> list[str]:
    return [f"\n{title}:\n", *(f"- {rule['message']}" for rule in rules)] if rules else []


def _default(said: dict[str, Any]) -> str:
    default = said.get("default")
    if default in (None, "", {}, []):
        return ""
    shown = ", ".join(f"{k}: {v}" for k, v in default.items()) if isinstance(default, dict) else default
    return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"


def _type(name: str, said: dict[str, Any], model: type[Part] | None) -> str:
    kind = said.get("type", "text")
    if kind == "array":
        return "list of objects" if model else f"list of {_type(name, said['items'], None)}s"
    if model:
        return "object"
    if kind == "object":
        return _map(said["additionalProperties"]) if "additionalProperties" in said else "object"
    return {"string": "text", "integer": "number", "boolean": "true or false"}.get(kind, kind)


def _map(values: dict[str, Any]) -> str:
    return "options" if values.get("x-kubernetes-preserve-unknown-fields") else "map of texts"


def _meaning(said: dict[str, Any]) -> str:
    told = said.get("description", "")
    choices = said.get("enum") or said.get("items", {}).get("enum")
    if choices:
        told += f" One of {', '.join(f'`{str(c).lower() if isinstance(c, bool) else c}`' for c in choices)}."
    return told + _bounds(said)


def _bounds(said: dict[str, Any]) -> str:
    bounds = []
    if "minimum" in said and "maximum" in said:
        bounds.append(f"{said['minimum']} to {said['maximum']}")
    if "maxLength" in said and not said.get("enum"):
        bounds.append(f"at most {said['maxLength']:,} characters")
    if "maxItems" in said and not said.get("items", {}).get("enum"):
        least = f"{said['minItems']} to " if "minItems" in said else "at most "
        bounds.append(f"{least}{said['maxItems']} entries")
    pattern = said.get("pattern")
    if pattern in EXPLANATIONS and len(pattern) <= _LONGEST_PATTERN:
        bounds.append(f"matches `{pattern}`")
    return f" ({'; '.join(bounds)})" if bounds else ""


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


# --- Formats --------------------------------------------------------------------------------------------------------


def _formats() -> str:
    lines = ["## Formats and their options\n"]
    titles = dict(
        zip(ROLES, ("Sources", "Tables", "Sinks", "Dead letters", "Decoders", "Encoders"), strict=True)
    )
    for role, formats in ROLES.items():
        lines.append(f"### {titles[role]}\n")
        if role == "dead letter":
            lines.append(f"{', '.join(f'`{name}`' for name in formats)}: as sinks.\n")
            continue
        for name, format in formats.items():
            lines.append(_format(name, format))
    return "\n".join(lines)


def _format(name: str, format: Format) -> str:
    lines = [f"**{name}**: {format.meaning}."]
    if format.columns:
        lines.append(f"Its columns: `{format.columns}`.")
    for group in format.one_of:
        lines.append(
            f"{'Exactly one of' if len(group) > 1 else 'Required:'} {', '.join(f'`{o}`' for o in group)}."
        )
    for prefix in format.pass_through:
        lines.append(f"Other options that begin with `{prefix}` are handed to the client library.")
    told = " ".join(lines) + "\n"
    if not format.options:
        return told
    rows = [f"| `{option}` | {_cell(_option(said))} |" for option, said in format.options.items()]
    return told + "\n| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"


def _option(said: Option) -> str:
    kinds = {"boolean": "true or false", "count": "a whole number", "duration": "a duration"}
    kind = f" ({', '.join(said.choices)})" if said.choices else ""
    return said.meaning + (f" ({kinds[said.kind]})" if said.kind in kinds else kind)


def main(argv: list[str]) -> int:
    directory, check = arguments(argv, "python -m tidemill.api.docs [--check] docs/")
    return write_or_check({directory / FILE: text()}, COMMAND, check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
