"""What a job computes and writes: queries with their triggers and sinks, or a program."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tidemill.api import rules
from tidemill.api.base import (
    ColumnName,
    Interval,
    Options,
    Part,
    Rule,
    SecretText,
    SqlName,
    explained,
)
from tidemill.api.formats import SINKS
from tidemill.api.option_rules import check_options

_CONFIG_MAP_PATTERN = explained(
    r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
    "is no name of a ConfigMap; write lower-case letters, digits, - and .",
)
_KEY_PATTERN = explained(
    r"^[-._a-zA-Z0-9]+$", "is no key of a ConfigMap; write letters, digits, -, _ and ., as in 'job.py'"
)

OutputMode = Literal["append", "update", "complete"]


class Encode(Part):
    """How rows become Kafka records."""

    format: Literal["json", "csv", "avro"] = Field(
        default="json",
        description="What a record's `value` holds: the row's columns, those of `key` included.",
    )
    key_format: Literal["text", "json", "avro"] = Field(
        default="text",
        description="What a record's `key` holds. `text`: one column as a string, so that other "
        "clients partition alike; "
        "`json` and `avro`: an object of all columns of `key`.",
    )
    options: Options = Field(
        default_factory=dict, description="Spark's options of the format, such as `ignoreNullFields`."
    )
    RULES: ClassVar = (Rule(lambda raw: check_options("encoder", {"format": "json", **raw})),)


class Sink(Part):
    """Where a query writes."""

    format: str = Field(
        max_length=32, json_schema_extra={"enum": list(SINKS)}, description="Spark's name of the format."
    )
    options: Options = Field(
        default_factory=dict,
        description="Spark's options of the format. Texts, numbers or booleans; "
        "`${NAME}` and `secretRef` bring in secrets.",
    )
    partition_by: list[ColumnName] = Field(
        default_factory=list,
        max_length=16,
        description="Columns that become directories (`key=value`) of a file sink, so that readers can skip. "
        "Each value makes a file of its own in every batch: choose columns of few values.",
    )
    encode: Encode | None = Field(
        default=None,
        description="How rows become Kafka records. Without it the query gives the columns `value` and, if it likes, "
        "`key`, `topic`, `partition` and `headers`, as in Spark.",
    )
    key: list[ColumnName] = Field(
        default_factory=list,
        max_length=16,
        description="The columns that name a row: the key of an encoded Kafka record, and of an upsert.",
    )

    RULES: ClassVar = (
        Rule(lambda raw: check_options("sink", raw)),
        Rule(
            rules.check_partition_by,
            f"!has(self.partitionBy) || size(self.partitionBy) == 0 || self.format in {rules.FILE_SINKS}",
            "partitionBy is for file sinks; others have no directories to divide",
            at=".partitionBy",
            reason="Forbidden",
        ),
        Rule(
            rules.check_encode,
            "!has(self.encode) || self.format == 'kafka'",
            "encode is for kafka; other formats write columns",
            at=".encode",
            reason="Forbidden",
        ),
        Rule(
            rules.check_key,
            "!has(self.key) || size(self.key) == 0 || (self.format == 'kafka' && has(self.encode))",
            "key names the key of encoded kafka records; add encode, or leave key out",
            at=".key",
            reason="Forbidden",
        ),
        Rule(
            cel="!has(self.key) || size(self.key) < 2 || !has(self.encode) || "
            "(has(self.encode.keyFormat) && self.encode.keyFormat != 'text')",
            says="a key of several columns needs keyFormat json or avro",
            at=".encode",
            reason="Forbidden",
        ),
    )


class Trigger(Part):
    """When a batch runs: exactly one of the three."""

    processing_time: Interval | None = Field(
        default=None,
        description="At this interval, like `10 seconds`; `0 seconds`: as soon as "
        "the last one is done and rows are there.",
    )
    once: Literal[True] | None = Field(
        default=None,
        description="One batch of everything that is there, then stop. Kept for Spark's sake: prefer availableNow.",
    )
    available_now: Literal[True] | None = Field(
        default=None,
        description="Everything that is there at the start, in batches of the sources' limits, then stop.",
    )

    RULES: ClassVar = (
        Rule(
            rules.check_trigger,
            "[has(self.processingTime), has(self.once), has(self.availableNow)].filter(given, given).size() == 1",
            "give exactly one of processingTime, once and availableNow",
        ),
    )


class Query(Part):
    """One computation from sources to a sink, with its own progress."""

    name: SqlName = Field(
        description="Names its progress and its metrics. Later queries can read it as a view."
    )
    sql: str = Field(
        min_length=1,
        max_length=100_000,
        description="Spark SQL over sources, tables and earlier queries. Earlier queries are computed within this one.",
    )
    output_mode: OutputMode = Field(
        default="append",
        description="What a batch writes. `append`: rows that will not change any more; `update`: rows that "
        "changed; `complete`: the whole result. Append is the default, because every sink can take it.",
    )
    trigger: Trigger = Field(
        default_factory=lambda: Trigger(processing_time="0 seconds"),
        description="When a batch runs. By default as soon as there are rows.",
    )
    sink: Sink = Field(description="Where the result goes.")

    RULES: ClassVar = (
        Rule(
            rules.check_mode,
            f"!(self.sink.format in {rules.FILE_SINKS}) || !has(self.outputMode) || self.outputMode == 'append'",
            "a file sink takes append only: files that readers have seen cannot change",
            at=".outputMode",
            reason="Forbidden",
        ),
    )


class ConfigMapFile(Part):
    """A file that comes in a ConfigMap."""

    name: str = Field(
        max_length=253,
        pattern=_CONFIG_MAP_PATTERN,
        description="The ConfigMap, in the job's namespace.",
    )
    key: str = Field(max_length=253, pattern=_KEY_PATTERN, description="The key that holds the program.")


class Program(Part):
    """A PySpark-shaped program in place of sources and queries. Exactly one of file, inline and configMap."""

    file: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="A path: beside the manifest on a laptop, in the image on a cluster.",
    )
    inline: str | None = Field(
        default=None, min_length=1, max_length=200_000, description="The program itself, for short ones."
    )
    config_map: ConfigMapFile | None = Field(
        default=None, description="A ConfigMap that holds the program. On a cluster only."
    )
    args: list[Annotated[SecretText, Field(max_length=4096)]] = Field(
        default_factory=list,
        max_length=256,
        description="Its arguments: `sys.argv[1:]`. `${NAME}` brings in secrets.",
    )

    RULES: ClassVar = (
        Rule(
            rules.check_program,
            "[has(self.file), has(self.inline), has(self.configMap)].filter(given, given).size() == 1",
            "give exactly one of file, inline and configMap",
        ),
    )
