"""The tables of formats and options, held against the sources and decoders that take the options."""

from __future__ import annotations

import pytest

from tests.api.manifests import changed, complaints
from tidemill.api.formats import DECODERS, SINKS, SOURCES, TABLES
from tidemill.errors import SourceError
from tidemill.kernel.decode import OPTIONS as DECODED
from tidemill.sources.files import file_options
from tidemill.sources.options import Options as SourceOptions
from tidemill.sources.socket import KNOWN as SOCKET
from tidemill.types import parse_ddl

FILES = ("text", "csv", "json", "parquet", "avro")


@pytest.mark.parametrize("name", FILES)
def test_every_option_of_a_file_format_is_known_to_its_source(name: str) -> None:
    for table in (SOURCES, TABLES):
        for option in table[name].options:
            assert any(
                is_taken(name, option, value)
                for value in ("1", "true", "false", "en-US", "STOP_AT_DELIMITER")
            ), option


def is_taken(name: str, option: str, value: str) -> bool:
    """Some options have but one value that is supported."""
    try:
        file_options(name, {"path": "in", option: value})
    except SourceError:
        return False
    return True


def test_every_option_of_the_other_sources_is_known_to_them() -> None:
    SourceOptions("socket", dict.fromkeys(SOURCES["socket"].options, "1"), SOCKET)


@pytest.mark.parametrize("name", DECODERS)
def test_every_option_of_a_decoder_is_known_to_it(name: str) -> None:
    assert set(DECODERS[name].options) == set(DECODED[name])


def test_the_columns_of_a_format_are_a_schema() -> None:
    for format in SOURCES.values():
        assert format.columns is None or parse_ddl(format.columns).names


def test_a_required_option_is_an_option() -> None:
    for table in (SOURCES, TABLES, SINKS):
        for format in table.values():
            assert {option for group in format.one_of for option in group} <= set(format.options)


def test_options_of_decode_and_encode_are_checked_too() -> None:
    assert complaints(changed("sources.0.decode.options", {"timestampFormt": "yyyy"})) == [
        (
            "spec.sources[0].decode.options.timestampFormt: json has no such option for a decoder; "
            "did you mean 'timestampFormat'?"
        )
    ]
    sink = {"format": "kafka", "options": {"kafka.bootstrap.servers": "b:9092", "topic": "t"}}
    encode = {"options": {"ignoreNulls": True}}
    assert complaints(changed("queries.0.sink", sink | {"encode": encode})) == [
        (
            "spec.queries[0].sink.encode.options.ignoreNulls: json has no such option for an encoder; "
            "did you mean 'ignoreNullFields'?"
        )
    ]
