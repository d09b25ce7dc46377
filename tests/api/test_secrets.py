"""Secrets come in late and never show."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path

import pytest

from tests.api.manifests import WEB_LOGS, changed
from tidemill.api import load, missing_secrets, parse, secret_references
from tidemill.errors import ManifestError
from tidemill.secrets import MissingSecret, Secret, SecretResolver, plain
from tidemill.sinks.kafkaclient import make
from tidemill.sinks.make import local_path
from tidemill.sinks.options import Options as SinkOptions
from tidemill.sources.options import Options as SourceOptions

PASSWORD = "correct horse"


def test_a_secret_is_the_text_and_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(PASSWORD)
    assert secret == PASSWORD
    assert secret.encode() == PASSWORD.encode()
    assert secret.reveal() == PASSWORD
    logging.getLogger("test").warning("%s %r %s %s", secret, secret, {"password": secret}, [secret])
    shown = f"{secret} {secret!r} {secret:>20} {caplog.text}"
    assert PASSWORD not in shown
    assert shown.count("***") == 7


def test_what_is_made_of_a_secret_is_one() -> None:
    login = "user:" + Secret(PASSWORD) + "@"
    assert isinstance(login, Secret)
    assert login.reveal() == f"user:{PASSWORD}@"
    assert isinstance(pickle.loads(pickle.dumps(login)), Secret)
    assert pickle.loads(pickle.dumps(login)) == login


def test_environment_variables_are_put_in() -> None:
    resolver = SecretResolver({"USER": "me", "PASSWORD": PASSWORD})
    location = resolver.resolve("redis://${USER}:${PASSWORD}@redis/0")
    assert isinstance(location, Secret)
    assert location.reveal() == f"redis://me:{PASSWORD}@redis/0"
    assert resolver.resolve("$${USER} costs 5$") == "${USER} costs 5$"
    assert type(resolver.resolve("plain")) is str


def test_a_secret_ref_is_a_file_or_else_a_variable(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "password").write_text(f"{PASSWORD}\n")
    env = {"TIDEMILL_SECRETS_DIR": str(tmp_path), "KAFKA_PASSWORD": "other", "KAFKA_SASL_USER": "me"}
    resolver = SecretResolver(env)
    assert resolver.resolve("${secret:kafka/password}") == PASSWORD
    assert resolver.resolve("${secret:kafka/sasl.user}") == "me"
    assert SecretResolver({"KAFKA_PASSWORD": "other"}).resolve("${secret:kafka/password}") == "other"


def test_a_reference_in_yaml_stays_one_until_it_is_used() -> None:
    ref = {"secretRef": {"name": "kafka", "key": "password"}}
    job, problems = parse(changed("conf", {"a": ref, "b": "x${NAME}"}))
    assert problems == []
    assert job is not None
    assert job.spec.conf == {"a": "${secret:kafka/password}", "b": "x${NAME}"}
    resolved = SecretResolver({"KAFKA_PASSWORD": PASSWORD, "NAME": "y"}).resolve_options(job.spec.conf)
    assert resolved == {"a": PASSWORD, "b": "xy"}
    assert PASSWORD not in repr(resolved)


def test_every_missing_secret_is_named_with_its_remedy(tmp_path: Path) -> None:
    text = WEB_LOGS.replace("subscribe: web-access,", "subscribe: '${TOPIC}',").replace(
        'location: "redis://redis:6379/0"', 'location: "redis://:${secret:redis/password}@redis"'
    )
    assert load(text).spec.sources[0].options["subscribe"] == "${TOPIC}"
    with pytest.raises(ManifestError) as caught:
        load(text, {"UNRELATED": PASSWORD, "TIDEMILL_SECRETS_DIR": str(tmp_path)})
    assert caught.value.problems == (
        "line 8: spec.sources[0].options.subscribe: ${TOPIC} is not set; set the environment variable TOPIC",
        (
            "line 32: spec.checkpoint.location: secret 'redis' has no key 'password' here; write it to "
            f"{tmp_path}/redis/password, or set the environment variable REDIS_PASSWORD"
        ),
    )
    assert missing_secrets(load(text), SecretResolver({"TOPIC": "a", "REDIS_PASSWORD": "b"})) == []
    with pytest.raises(
        MissingSecret, match="put it into the file redis/password of TIDEMILL_SECRETS_DIR, or set"
    ):
        SecretResolver({}).resolve("${secret:redis/password}")


def test_a_job_names_every_secret_that_it_needs_wherever_it_is_referred_to() -> None:
    manifest = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: everywhere}
spec:
  sources:
    - name: access
      format: kafka
      options:
        kafka.bootstrap.servers: ${BROKERS}
        subscribe: a
        kafka.sasl.password: {secretRef: {name: kafka, key: password}}
        kafka.sasl.username: ${secret:kafka/user}
      decode: {format: json, schema: "a STRING", options: {timeZone: "${ZONE}"}}
      deadLetter:
        format: kafka
        options: {kafka.bootstrap.servers: b, topic: t, kafka.sasl.password: "${secret:dead/password}"}
  tables: [{name: hosts, format: csv, options: {path: "${HOSTS}/x"}, schema: "host STRING"}]
  queries:
    - name: q
      sql: SELECT '${NOT_HERE}' AS x, '${secret:not/here}' AS y FROM access
      sink:
        format: kafka
        options: {kafka.bootstrap.servers: b, topic: t, kafka.ssl.key.password: "${secret:sink/password}"}
        encode: {format: avro, options: {recordName: "${WRITTEN}"}}
  checkpoint: {location: "redis://:${secret:redis/password}@redis/0"}
  conf: {a: "$${NOT_ONE} ${CONF}", b: {secretRef: {name: kafka, key: password}}}
"""
    secrets, variables = secret_references(load(manifest))
    assert secrets == {
        "dead": ("password",),
        "kafka": ("password", "user"),
        "redis": ("password",),
        "sink": ("password",),
    }
    assert list(secrets) == sorted(secrets)
    assert variables == ("BROKERS", "CONF", "HOSTS", "WRITTEN", "ZONE")


def test_arguments_of_a_program_are_asked_for_secrets_too() -> None:
    job = load(
        "apiVersion: tidemill.dev/v1alpha1\nkind: StreamingJob\nmetadata: {name: job}\n"
        "spec:\n  program: {inline: 'print(\"${NOT_HERE}\")', args: ['--day', '${DAY}', '${secret:a/b}']}\n"
    )
    assert secret_references(job) == ({"a": ("b",)}, ("DAY",))
    assert secret_references(load(WEB_LOGS)) == ({}, ())


def test_sql_and_other_texts_hold_no_references() -> None:
    job = load(WEB_LOGS.replace("GROUP BY 1, 2", "WHERE host <> '${HOST}' GROUP BY 1, 2"), {})
    assert "${HOST}" in job.spec.queries[0].sql


def test_a_key_cannot_leave_its_directory(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(PASSWORD)
    (tmp_path / "secrets" / "kafka").mkdir(parents=True)
    for text in ("${secret:../outside}", "${secret:kafka/../../outside}", "${secret:kafka/..}"):
        _, problems = parse(changed("conf", {"a": text}))
        assert [p.message.split(" is no reference")[0] for p in problems] == [repr(text)]
        assert SecretResolver({}, tmp_path / "secrets").resolve(text) == text


def test_text_of_others_is_masked() -> None:
    resolver = SecretResolver({"PASSWORD": PASSWORD, "SHORT": "on"})
    resolver.resolve("${PASSWORD}${SHORT}")
    assert resolver.mask(f"login failed: {PASSWORD} at position") == "login failed: *** at position"


def test_a_traceback_shows_no_secret() -> None:
    resolver = SecretResolver({"PASSWORD": PASSWORD})
    options = resolver.resolve_options({"a": "${PASSWORD}"})
    try:
        raise ValueError(f"cannot use {options} or {options['a']}")
    except ValueError:
        assert PASSWORD not in traceback.format_exc()


def test_options_of_sources_and_sinks_keep_secrets_secret() -> None:
    password = Secret(PASSWORD)
    sink = SinkOptions("kafka", {"kafka.sasl.password": password}).with_prefix("kafka.")["sasl.password"]
    source = SourceOptions("socket", {"host": password}, ["host"]).text("host")
    for kept in (sink, source):
        assert isinstance(kept, Secret)
        assert kept == PASSWORD


def test_a_library_that_calls_str_gets_the_text(tmp_path: Path) -> None:
    path = "" + Secret(f"{tmp_path}/out")
    assert str(Path(path)) == "***"
    assert str(Path(plain(path))) == local_path(path) == f"{tmp_path}/out"
    made = make(lambda config, logger: config, {"sasl.password": Secret(PASSWORD), "retries": 3})
    assert [(type(value), value) for value in made.values()] == [(str, PASSWORD), (int, 3)]
