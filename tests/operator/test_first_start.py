"""A job is applied, and runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.operator.stories import PLATFORM, Story
from tidemill_operator.cluster import CONFIG_MAP, DEPLOYMENT, POD, SECRET, SERVICE, STATEFUL_SET


def test_the_first_pass_makes_everything() -> None:
    story = Story(executor={"replicas": 2}).passes()
    assert story.did == [
        "apply Secret web-logs-tls-1",
        "apply ConfigMap web-logs-A",
        "apply Deployment web-logs-driver-A",
        "apply Service web-logs-driver",
        "apply Service web-logs-executor",
        "apply PodDisruptionBudget web-logs-executor",
        "apply StatefulSet web-logs-executor",
    ]
    assert story.phase == "Pending"
    assert story.message == "no pod of the driver yet"


def test_what_is_decided_is_told_once() -> None:
    story = Story().passes()
    assert story.told == ["Pending"]
    story.passes()
    assert story.told == []


def test_the_second_pass_does_nothing() -> None:
    story = Story().passes().passes()
    assert not story.wrote


def test_a_job_starts_and_runs() -> None:
    story = Story(executor={"replicas": 2}).passes().lives().passes()
    assert (story.phase, story.condition("Progressing"), story.condition("Ready")) == (
        "Starting",
        "Starting",
        "",
    )
    story.settles()
    assert (story.phase, story.message) == ("Running", "1 query on 2 executors")
    assert (story.condition("Progressing"), story.condition("Ready")) == ("", "Running")
    assert (story.status["replicas"], story.status["readyReplicas"]) == (2, 2)
    assert (story.status["image"], story.status["generation"], story.status["lagRows"]) == (
        "tidemill:1",
        1,
        10,
    )


def test_a_job_that_runs_is_left_alone() -> None:
    story = Story().settles().passes()
    assert not story.wrote
    assert story.decision is not None and story.decision.again == 15.0


def test_another_operator_finds_all_as_it_should_be() -> None:
    story = Story().settles().upgrades().passes()
    assert not story.wrote


def test_executors_are_led_to_the_driver_of_the_revision() -> None:
    story = Story().settles()
    assert story.drivers == story.leads == [story.active] == ["A"]


def test_what_others_take_away_is_made_again() -> None:
    for kind in (CONFIG_MAP, DEPLOYMENT, SERVICE, STATEFUL_SET, POD):
        story = Story(executor={"replicas": 2}).settles().loses(kind).settles()
        assert (story.phase, story.message) == ("Running", "1 query on 2 executors"), kind


def test_a_driver_that_is_scaled_down_is_scaled_up() -> None:
    story = Story().settles()
    (driver,) = story.cluster.all(DEPLOYMENT)
    story.cluster.change(driver, lambda d: d["spec"].update(replicas=0))
    assert story.passes().did == ["patch Deployment web-logs-driver-A"]
    assert story.settles().phase == "Running"


def test_a_service_that_leads_astray_is_mended() -> None:
    story = Story().settles()
    service = story.cluster.find(SERVICE, "shop", "web-logs-driver")
    assert service is not None
    story.cluster.change(service, lambda s: s["spec"]["selector"].update({"extra": "label"}))
    assert story.passes().did == ["apply Service web-logs-driver"]
    service = story.cluster.find(SERVICE, "shop", "web-logs-driver")
    assert service is not None and "extra" not in service["spec"]["selector"]


def test_the_driver_runs_the_manifest_as_it_was_written() -> None:
    story = Story(conf={"spark.sql.shuffle.partitions": 4}).passes()
    (config,) = story.cluster.all(CONFIG_MAP)
    manifest = json.loads(config["data"]["job.yaml"])
    assert manifest["spec"] == story.job["spec"]
    assert manifest["metadata"]["uid"] == story.job["metadata"]["uid"]
    assert config["immutable"]


def _mounted(pod: dict[str, Any]) -> dict[str, str]:
    """The Secrets of a pod by the paths where its container finds them."""
    volumes = {v["name"]: v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v}
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    return {m["mountPath"]: volumes[m["name"]] for m in mounts if m["name"] in volumes}


TLS = {"/etc/tidemill/tls": "web-logs-tls-1"}


def test_secrets_are_mounted_in_the_driver_and_never_read() -> None:
    options = {"subscribe": "a", "kafka.bootstrap.servers": "k:9092"}
    options["kafka.sasl.password"] = "${secret:kafka/password}"
    story = Story(sources=[{"name": "access", "format": "kafka", "options": options}]).passes()
    assert _mounted(story.template()) == {**TLS, "/etc/tidemill/secrets/kafka": "kafka"}
    assert not [c for c in story.api.calls if c.startswith(("get Secret", "list Secret"))]


def test_executors_get_what_they_need_from_the_driver_and_mount_no_secret() -> None:
    story = Story(conf={"spark.own": "${secret:kafka/password}"}).passes()
    assert _mounted(story.template(STATEFUL_SET)) == TLS


def test_the_secret_of_the_platforms_checkpoint_is_mounted_by_jobs_that_are_kept_there() -> None:
    platform = replace(PLATFORM, checkpoint="redis://:${secret:redis/password}@redis:6379/0")
    own = {"location": "redis://own:6379/0"}
    assert _mounted(Story(platform).passes().template()) == {**TLS, "/etc/tidemill/secrets/redis": "redis"}
    assert _mounted(Story(platform, checkpoint=own).passes().template()) == TLS


def test_a_job_of_the_same_name_begins_anew_though_the_old_ones_objects_are_still_there() -> None:
    story = Story().settles().delete()
    again = Story()
    story.cluster.create({**again.job, "metadata": {"name": "web-logs", "namespace": "shop"}})
    story.settles()
    assert (story.phase, story.drivers) == ("Running", [story.active])
    owners = {o["uid"] for i in story.cluster.all(SECRET) for o in i["metadata"]["ownerReferences"]}
    assert owners == {story.job["metadata"]["uid"]}


def test_a_job_that_names_no_location_keeps_its_progress_where_the_platform_says() -> None:
    def checkpoint(story: Story) -> list[str]:
        env = story.passes().template()["spec"]["containers"][0]["env"]
        return [e["value"] for e in env if e["name"] == "TIDEMILL_CHECKPOINT"]

    assert checkpoint(Story()) == [PLATFORM.checkpoint]
    assert checkpoint(Story(checkpoint={"location": "redis://own:6379/1"})) == []


def test_a_program_of_a_config_map_is_mounted() -> None:
    program = {"configMap": {"name": "programs", "key": "job.py"}}
    story = Story(program=program).edit(sources=None, queries=None).passes()
    driver = story.template()["spec"]
    assert {"name": "program", "configMap": {"name": "programs"}} in driver["volumes"]
    assert {"name": "TIDEMILL_PROGRAM", "value": "/etc/tidemill/program/job.py"} in driver["containers"][0][
        "env"
    ]
