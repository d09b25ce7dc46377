"""What a job reads: sources, the static sides of joins, and functions written in Python."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tidemill.api import rules
from tidemill.api.base import (
    ColumnName,
    Ddl,
    Delay,
    Options,
    Part,
    Period,
    Rule,
    SqlName,
    TypeDdl,
    explained,
)
from tidemill.api.formats import DEAD_LETTERS, SOURCES, TABLES
from tidemill.api.option_rules import check_options

DecodeFormat = Literal["json", "csv", "avro", "text"]
MetadataColumn = Literal["key", "topic", "partition", "offset", "timestamp", "timestampType", "headers"]

_FUNCTION_PATTERN = explained(
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
    "names no function; write 'module:name', as in 'jobs.geo:country_of'",
)


class Decode(Part):
    """How the `value` of a record becomes columns."""

    format: DecodeFormat = Field(
        description="What a record's `value` holds; `text`: all of it is one STRING column."
    )
    schema_ddl: Ddl = Field(
        alias="schema",
        description="The columns of a decoded record as DDL, like `datum TIMESTAMP, status INT`. "
        "Names that a record lacks become null; names that the schema lacks are ignored.",
    )
    metadata: list[MetadataColumn] = Field(
        default_factory=list,
        max_length=7,
        description="Columns of the Kafka record to keep beside the decoded ones, under Spark's names and types. "
        "None by default, because each one is carried through every step.",
    )
    mode: Literal["permissive", "failfast"] = Field(
        default="permissive",
        description="What a record does that cannot be decoded. `permissive`: it goes to the dead letter (if there is "
        "one), is counted, and the query goes on. `failfast`: the query stops, with the partition and offset.",
    )
    column_name_of_corrupt_record: ColumnName | None = Field(
        default=None,
        description="A STRING column of the schema. A bad record then stays in the stream, as a row of nulls with its "
        "text in this column, as in Spark.",
    )
    options: Options = Field(
        default_factory=dict,
        description="Spark's options of the format, such as `timestampFormat` of JSON, or `sep` of CSV.",
    )

    RULES: ClassVar = (
        Rule(lambda raw: check_options("decoder", raw)),
        Rule(rules.check_corrupt_column),
        Rule(rules.check_decoded_columns),
    )


class Watermark(Part):
    """How long to wait for late rows."""

    event_time: ColumnName = Field(description="The TIMESTAMP column that says when a row happened.")
    delay: Delay = Field(
        description="How far the watermark stays behind the latest event time seen, like `60 seconds`. "
        "Longer keeps more state and later results; shorter drops more late rows. A month counts 31 days.",
    )


class DropDuplicates(Part):
    """Deduplication of a source, for which SQL has no words."""

    columns: list[ColumnName] = Field(
        min_length=1, max_length=64, description="Rows that agree in all of these columns are duplicates."
    )
    within_watermark: bool = Field(
        default=False,
        description="Forget a key once the watermark's delay has passed since its first row, so that state stays "
        "bounded. Without it a key is kept until the event time among `columns` is late, or for ever.",
    )


class DeadLetter(Part):
    """Where bad records go: columns reason, source, partition, offset, record."""

    format: str = Field(
        max_length=32, json_schema_extra={"enum": list(DEAD_LETTERS)}, description="The format to write."
    )
    options: Options = Field(default_factory=dict, description="Options of the format, as in a sink.")

    RULES: ClassVar = (Rule(lambda raw: check_options("dead letter", raw)),)


class Source(Part):
    """A stream, read once however many queries use it."""

    name: SqlName = Field(description="The name that queries read it by.")
    format: str = Field(
        max_length=32, json_schema_extra={"enum": list(SOURCES)}, description="Spark's name of the format."
    )
    options: Options = Field(
        default_factory=dict,
        description="Spark's options of the format. Texts, numbers or booleans; "
        "`${NAME}` and `secretRef` bring in secrets.",
    )
    schema_ddl: Ddl | None = Field(
        default=None,
        alias="schema",
        description="The columns of the files as DDL. File sources need it: "
        "files that are not there yet cannot be asked.",
    )
    decode: Decode | None = Field(
        default=None,
        description="How the `value` of a Kafka record, a socket's or a text file's line becomes columns. "
        "Without it the source has its raw columns.",
    )
    watermark: Watermark | None = Field(
        default=None, description="Until when late rows count. Aggregations in append mode need it."
    )
    drop_duplicates: DropDuplicates | None = Field(
        default=None, description="Leave out rows that have been seen before."
    )
    dead_letter: DeadLetter | None = Field(
        default=None, description="Where records go that cannot be decoded. Without it they are only counted."
    )

    def columns(self) -> list[str]:
        """The names of the columns that queries see."""
        return list(rules.source_columns(self.model_dump(by_alias=True, exclude_none=True)) or ())

    RULES: ClassVar = (
        Rule(lambda raw: check_options("source", raw)),
        Rule(
            rules.check_shape,
            "!(has(self.schema) && has(self.decode))",
            "give either schema (of files) or decode (of records), not both",
            at=".decode",
            reason="Forbidden",
        ),
        Rule(
            cel="!(self.format in ['csv', 'json', 'parquet', 'avro']) || has(self.schema)",
            says="a file source needs a schema, like 'a INT, b STRING'; files to come cannot be asked",
            at=".schema",
            reason="Required",
        ),
        Rule(
            cel="!has(self.schema) || self.format in ['text', 'csv', 'json', 'parquet', 'avro']",
            says="only file sources take a schema; say the columns of a record's value in decode.schema",
            at=".schema",
            reason="Forbidden",
        ),
        Rule(
            cel="!has(self.decode) || self.format in ['kafka', 'socket', 'text']",
            says="decode is for kafka, socket and text; other formats have columns already",
            at=".decode",
            reason="Forbidden",
        ),
        Rule(
            cel="!has(self.decode) || !has(self.decode.metadata) || "
            "size(self.decode.metadata) == 0 || self.format == 'kafka'",
            says="metadata columns come from kafka only",
            at=".decode.metadata",
            reason="Forbidden",
        ),
        Rule(
            rules.check_dead_letter,
            "!has(self.deadLetter) || has(self.decode) || self.format in ['csv', 'json', 'avro']",
            "a dead letter takes what cannot be decoded; this source decodes nothing",
            at=".deadLetter",
            reason="Forbidden",
        ),
        Rule(rules.check_event_time),
        Rule(
            rules.check_duplicates,
            "!has(self.dropDuplicates) || !has(self.dropDuplicates.withinWatermark) || "
            "!self.dropDuplicates.withinWatermark || has(self.watermark)",
            "withinWatermark needs a watermark on the source, whose delay says how long keys are kept",
            at=".dropDuplicates.withinWatermark",
            reason="Forbidden",
        ),
    )


class Table(Part):
    """A static side of joins: read whole, not as a stream."""

    name: SqlName = Field(description="The name that queries read it by.")
    format: str = Field(
        max_length=32, json_schema_extra={"enum": list(TABLES)}, description="Spark's name of the format."
    )
    options: Options = Field(default_factory=dict, description="Spark's options of the format.")
    schema_ddl: Ddl | None = Field(
        default=None,
        alias="schema",
        description="The columns as DDL. Without it Parquet and Avro say them, and CSV columns are strings "
        "unless `inferSchema` is true.",
    )
    refresh: Period | None = Field(
        default=None,
        description="Read again after this long, like `1 hour`, between two batches. Without it the table is read "
        "once, at the start, so that a batch run again sees what it saw.",
    )

    RULES: ClassVar = (Rule(lambda raw: check_options("table", raw)),)


class Function(Part):
    """A function written in Python, for use in the queries' SQL."""

    name: SqlName = Field(description="The name in SQL. It may not be one of Spark's own functions.")
    from_: str = Field(
        alias="from",
        max_length=255,
        pattern=_FUNCTION_PATTERN,
        description="Where it is, as `module:name`. Modules are looked for beside "
        "the manifest, then among what is installed.",
    )
    returns: TypeDdl = Field(description="The type of its result as DDL, like `STRING` or `ARRAY<INT>`.")
    kind: Literal["python", "pandas", "arrow"] = Field(
        default="python",
        description="What it takes. `python`: one row's values, called for each row. `pandas`: Series. `arrow`: "
        "arrays. The last two are called once a batch, which is faster by far.",
    )
