"""The compose file, against the specification and against what this code knows. No image is built or run here."""

import json
import re

import compose_spec
import pytest

from core.settings import FILE_SUFFIX, Settings, variable
from tests.deploy.compose import FILE, ROOT, read_compose, variables
from tools.make_secrets import make_secrets

COMPOSE = read_compose()
SERVICES = COMPOSE["services"]
OURS = ("migrate", "api", "dispatcher", "cpu-worker", "gpu-worker")
OF_COMPOSE_ALONE = {"WECOLORA_VERSION", "WECOLORA_BIND", "WECOLORA_PORT"}
SETTINGS = {variable(name) for name in Settings.model_fields}


def test_the_file_follows_the_compose_specification():
    compose_spec.PyCompose.from_json(json.dumps(COMPOSE)).to_spec()


@pytest.mark.parametrize(
    ("key", "value"),
    [("healtcheck", {}), ("read_only", "maybe"), ("restart", "sometimes"), ("ports", "many")],
)
def test_the_check_itself_finds_mistakes(key, value):
    wrong = {**COMPOSE, "services": {**SERVICES, "api": {**SERVICES["api"], key: value}}}
    with pytest.raises(ValueError, match=r"\S"):
        compose_spec.PyCompose.from_json(json.dumps(wrong)).to_spec()


def test_every_variable_named_is_a_setting():
    named = {name for service in OURS for name in SERVICES[service]["environment"]}
    assert {name.removesuffix(FILE_SUFFIX) for name in named} <= SETTINGS
    assert variables() <= SETTINGS | OF_COMPOSE_ALONE


def test_each_secret_that_is_named_is_mounted_and_made_and_none_is_in_an_environment(tmp_path):
    make_secrets(tmp_path)
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        text = json.dumps([environment, service.get("command"), service.get("healthcheck")])
        assert set(re.findall(r"/run/secrets/([\w.]+)", text)) == set(service.get("secrets", ())), name
        in_files = {key.removesuffix("_FILE") for key in environment if key.endswith("_FILE")}
        assert not in_files & environment.keys()
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_no_more_than_it_needs(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in ("root", "0", "0:0")
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert "max-size" in service["logging"]["options"]
    assert "privileged" not in service
    if service["restart"] != "no":
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_container_refers_to_is_defined(name):
    service = SERVICES[name]
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert {volume.split(":")[0] for volume in service.get("volumes", ())} <= COMPOSE["volumes"].keys()
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    for other, need in service.get("depends_on", {}).items():
        one_shot = SERVICES[other]["restart"] == "no"
        assert need["condition"] == ("service_completed_successfully" if one_shot else "service_healthy")


def test_images_are_pinned_and_ours_are_targets_of_the_dockerfile():
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name, service in SERVICES.items():
        image, _, tag = service["image"].rpartition(":")
        assert image
        assert tag
        assert tag != "latest"
        assert ("build" in service) is (name in OURS)
        if "build" in service:
            target = service["build"]["target"]
            assert f" AS {target}\n" in dockerfile
            assert service["image"].startswith(f"wecolora-{target}:")


def test_only_the_api_is_published_and_to_this_machine_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_what_decodes_uploads_cannot_reach_the_internet():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("cpu-worker", "postgres", "redis", "store", "migrate"):
        assert SERVICES[name]["networks"] == ["inside"], name


def test_the_dispatcher_can_reach_the_endpoints_of_webhooks():
    assert SERVICES["dispatcher"]["networks"] == ["inside", "outside"]


def test_workers_have_longer_to_stop_than_their_children_take():
    grace = Settings.model_fields["cancel_grace_seconds"].default
    for name in ("cpu-worker", "gpu-worker"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= grace + 10


def test_the_queue_keeps_what_it_was_given():
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_each_kind_of_work_has_workers_of_its_own():
    queues = {
        name: service["command"][service["command"].index("--queues") + 1]
        for name, service in SERVICES.items()
        if "--queues" in service.get("command", ())
    }
    assert queues == {"cpu-worker": "datasets", "gpu-worker": "jobs"}
    (device,) = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}


def test_the_secrets_folder_is_kept_out_of_git_and_of_images():
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any("secrets" in line for line in ignored)
    assert FILE.exists()
