"""compose.yaml says what Footnote, its image and PostgreSQL understand. No container is started."""

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.settings import PREFIX, load_settings
from tests.app.documentation import ROOT, find_fault
from tests.app.recipes import COMPOSE, DEPLOY, compose, compose_variables, seconds, served_paths, size

SERVICES = compose()["services"]
OURS = ["api", "worker"]
ALL_OURS = [name for name, each in SERVICES.items() if each["image"] == "footnote:local"]
RAY = ["ray-head", "ray-node"]
STORES = ["postgres", "milvus"]
HAPROXY = shutil.which("haproxy")
EXAMPLE = DEPLOY / "env.example"
PROXY = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")


def environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def flags() -> dict[str, str]:
    """What PostgreSQL is started with."""
    return dict(word.removeprefix("-c").split("=", 1) for word in SERVICES["postgres"]["command"][1:])


@pytest.mark.parametrize("name", OURS)
def test_settings_are_known_and_accepted(name: str, tmp_path: Path) -> None:
    given = {key: value for key, value in environment(name).items() if key.startswith(PREFIX)}
    settings = load_settings(given, tmp_path)
    assert settings.home == Path("/data")
    assert settings.threads == 2


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    assert find_fault(SERVICES[name]["command"]) is None


def test_api_and_workers_share_the_database_and_the_data() -> None:
    address = environment("api")["FOOTNOTE_DATABASE_URL"]
    assert address == environment("worker")["FOOTNOTE_DATABASE_URL"]
    user, password, host, name = re.fullmatch(r"postgresql://(\w+):(\w+)@(\w+):5432/(\w+)", address).groups()  # type: ignore[union-attr]
    made = environment(host)
    assert (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"], made["POSTGRES_DB"]) == (user, password, name)
    assert SERVICES["api"]["volumes"] == SERVICES["worker"]["volumes"] == ["home:/data"]


def test_jobs_are_left_to_the_workers() -> None:
    assert environment("api")["FOOTNOTE_WORKERS"] == "0"


def test_milvus_is_where_the_example_says() -> None:
    found = re.search(r"milvus://(\w+):(\d+)", EXAMPLE.read_text(encoding="utf-8"))
    assert found is not None
    assert found.group(1) in SERVICES
    assert found.group(2) == "19530"


@pytest.mark.parametrize("name", ALL_OURS)
def test_nothing_of_a_container_is_writable_but_data_and_tmp(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108


def test_only_the_proxy_is_open_to_the_outside_and_by_default_to_this_machine_alone() -> None:
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["proxy"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["proxy"]["ports"])


def test_stores_and_workers_have_no_way_out() -> None:
    assert compose()["networks"]["back"]["internal"] is True
    for name in (*STORES, *RAY, "worker"):
        assert SERVICES[name]["networks"] == ["back"]


def test_every_image_has_a_version() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2]
        assert tag != "latest", name
        assert ":" in service["image"], name


def test_what_is_in_flight_has_its_time_at_a_stop() -> None:
    names = ("FOOTNOTE_SHUTDOWN_NOTICE_S", "FOOTNOTE_SHUTDOWN_TIMEOUT_S")
    settings = load_settings({name: environment("api")[name] for name in names})
    needed = settings.shutdown_timeout_s + settings.shutdown_notice_s + 10
    assert seconds(SERVICES["api"]["stop_grace_period"]) >= needed
    found = re.search(r"check inter (\d+)s fall (\d+)", PROXY)
    assert found is not None
    assert settings.shutdown_notice_s > int(found.group(1)) * int(found.group(2))


@pytest.mark.parametrize("name", OURS)
def test_threads_are_the_cores_that_a_container_may_use(name: str) -> None:
    assert environment(name)["FOOTNOTE_THREADS"] == SERVICES[name]["deploy"]["resources"]["limits"]["cpus"]


def test_postgresql_has_the_memory_that_it_is_told_to_use() -> None:
    assert size(SERVICES["postgres"]["shm_size"]) >= size(flags()["maintenance_work_mem"])
    assert size(flags()["effective_cache_size"]) >= size(flags()["shared_buffers"])
    assert flags()["synchronous_commit"] == "on"


def test_footnote_waits_until_postgresql_answers() -> None:
    assert "healthcheck" in SERVICES["postgres"]
    for name in OURS:
        assert SERVICES[name]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_image_is_built_from_a_lock_that_the_dockerfile_copies() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    locks = set(re.findall(r"requirements\S*\.lock", COMPOSE.read_text(encoding="utf-8")))
    assert locks <= set(re.findall(r"requirements\S*\.lock", dockerfile))
    for name in OURS:
        assert (COMPOSE.parent / SERVICES[name]["build"]["context"]).resolve() == ROOT
        assert SERVICES[name]["build"]["args"].keys() <= set(re.findall(r"ARG (\w+)", dockerfile))


def test_named_volumes_and_networks_are_those_that_are_used() -> None:
    sources = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])]
    assert {each for each in sources if not each.startswith(".")} == set(compose()["volumes"])
    networks = {network for each in SERVICES.values() for network in each["networks"]}
    assert networks == set(compose()["networks"])


@pytest.mark.parametrize("name", RAY)
def test_ray_reports_its_use_to_nobody(name: str) -> None:
    assert environment(name)["RAY_USAGE_STATS_ENABLED"] == "0"


def test_nodes_join_the_head_that_the_worker_gives_its_work_to() -> None:
    address = environment("ray-head")["FOOTNOTE_RAY_ADDRESS"]
    host, _, port = address.partition(":")
    assert SERVICES[host]["hostname"] == host
    assert f"--address={address}" in SERVICES["ray-node"]["command"]
    (command,) = SERVICES["ray-head"]["command"]
    assert f"--port={port}" in command
    assert command.endswith("&& exec footnote worker")


def test_files_that_are_mounted_exist() -> None:
    sources = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])]
    missing = [each for each in sources if each.startswith(".") and not (COMPOSE.parent / each).is_file()]
    assert missing == []


def test_example_has_every_variable_with_its_default() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    pairs = [found.groups() for line in lines if (found := re.fullmatch(r"(#?)(\w+)=(.*)", line))]
    shown = {name: None if not mark and not value else value for mark, name, value in pairs}
    assert shown == compose_variables()


def test_secrets_stay_out_of_git_and_out_of_the_image() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "**/.env" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert compose_variables()["POSTGRES_PASSWORD"] is None


@pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy here")
def test_proxy_understands_its_file() -> None:
    command = [str(HAPROXY), "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_proxy_leads_to_the_api_and_asks_whether_it_is_ready() -> None:
    found = re.search(r"server-template \w+ (\d+) (\w+):(\d+) resolvers (\w+)", PROXY)
    assert found is not None
    room, service, port, resolvers = found.groups()
    assert int(room) >= SERVICES[service]["deploy"]["replicas"]
    assert port == environment(service)["FOOTNOTE_PORT"]
    assert f"resolvers {resolvers}\n" in PROXY
    (asked,) = re.findall(r"http-check send meth GET uri (\S+)", PROXY)
    assert asked == "/health/ready"
    assert asked in served_paths()


def test_proxy_listens_where_its_port_leads() -> None:
    (bound,) = re.findall(r"^    bind :(\d+)$", PROXY, re.MULTILINE)
    assert SERVICES["proxy"]["ports"] == [f"127.0.0.1:8000:{bound}"]
    assert int(bound) > 1024  # it is no root


def test_proxy_sends_nothing_twice_that_a_replica_has_begun() -> None:
    assert re.findall(r"^    retry-on (.+)$", PROXY, re.MULTILINE) == ["conn-failure"]


def test_proxy_waits_as_long_as_an_answer_may_take() -> None:
    for side in ("client", "server"):
        (allowed,) = re.findall(rf"^    timeout {side} (\d+)s$", PROXY, re.MULTILINE)
        assert int(allowed) > load_settings({}).request_timeout_s


def test_proxy_tells_who_asks_and_not_what_the_client_says_of_itself() -> None:
    assert "http-request set-header X-Forwarded-For %[src]" in PROXY


def test_every_setting_of_a_container_is_explained() -> None:
    """The first of a run of settings has a comment above it, which speaks for the run."""
    lines = COMPOSE.read_text(encoding="utf-8").splitlines()
    bare = [line.strip() for above, line in pairwise(lines) if _bare(above, line)]
    assert bare == []


def _bare(above: str, line: str) -> bool:
    is_setting = re.match(r"\s+(FOOTNOTE_\w+: |- -c\w+=)", line) is not None
    return is_setting and not re.match(r"\s+(#|FOOTNOTE_\w+: |- -c)", above)


def test_ports_of_the_settings_are_those_of_the_image() -> None:
    ports: list[Any] = SERVICES["api"]["expose"]
    assert ports == [environment("api")["FOOTNOTE_PORT"]]
    assert "EXPOSE 8000" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
