"""What `deploy/kubernetes` ships, as the Helm chart renders it: it loads, it launches, and it names what settings read.

`rendered` follows the chart's templates for `dagster.yaml` (1.13), as far as the values use them. It passes on whatever
a section holds, so that a key that Dagster does not know fails to load.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from aiohttp import web
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from sqlalchemy.engine import URL

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.definitions import defs
from cata_pipeline.demo.surroundings import PROJECT
from cata_pipeline.orchestration import run_launchers
from cata_pipeline.orchestration.kubernetes_launcher import PodRunLauncher
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline.orchestration.run_launchers import GRACE_SECONDS
from cata_pipeline.orchestration.run_lock import held_run_lock, run_lock_is_held
from cata_pipeline.orchestration.run_queue import FleetRunCoordinator
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.credentials import EXPECTED
from cata_pipeline_tests.images.hosts import PictureHost

FOLDER = PROJECT / "deploy" / "kubernetes"
NAMESPACE = "cata"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
POD = {"image", "labels", "podSecurityContext", "securityContext", "resources", "envConfigMaps", "envSecrets"}
OF_THE_CHART = {
    "dagsterDaemon": POD | {"enabled", "runCoordinator", "runMonitoring", "runRetries", "sensors", "schedules"},
    "dagsterWebserver": POD | {"service", "env"},
    "deployments": POD | {"name", "dagsterApiGrpcArgs", "port", "includeConfigInLaunchedRuns"},
    "postgresql": {
        "enabled",
        "postgresqlDatabase",
        "postgresqlHost",
        "postgresqlParams",
        "postgresqlScheme",
        "postgresqlUsername",
        "service",
    },
}
"""Keys that the chart knows and that do not end in dagster.yaml; a misspelt one would be ignored without a word."""
NOT_IN_PRODUCTION = {"STORAGE_EMULATOR_HOST", "CATA_ALLOW_PRIVATE_ENDPOINTS"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture
def values() -> dict[str, Any]:
    [values] = documents("values.yaml")
    assert isinstance(values, dict)
    return values


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def snaked(section: Mapping[str, Any]) -> dict[str, Any]:
    return {snake(name): value for name, value in section.items()}


def rendered(values: Mapping[str, Any]) -> dict[str, Any]:
    """The dagster.yaml that the chart makes of the values."""
    daemon, postgresql = values["dagsterDaemon"], values["postgresql"]
    storage = {
        "postgres_db": {
            "username": postgresql["postgresqlUsername"],
            "password": {"env": "DAGSTER_PG_PASSWORD"},
            "hostname": postgresql["postgresqlHost"],
            "db_name": postgresql["postgresqlDatabase"],
            "port": postgresql["service"]["port"],
            "params": postgresql["postgresqlParams"],
            "scheme": postgresql["postgresqlScheme"],
        }
    }
    assert values["runLauncher"]["type"] == "CustomRunLauncher"
    assert daemon["runCoordinator"]["type"] == "CustomRunCoordinator"
    return {
        "scheduler": {"module": "dagster.core.scheduler", "class": "DagsterDaemonScheduler"},
        "schedule_storage": {
            "module": "dagster_postgres.schedule_storage",
            "class": "PostgresScheduleStorage",
            "config": storage,
        },
        "run_storage": {"module": "dagster_postgres.run_storage", "class": "PostgresRunStorage", "config": storage},
        "event_log_storage": {
            "module": "dagster_postgres.event_log",
            "class": "PostgresEventLogStorage",
            "config": storage,
        },
        "run_launcher": values["runLauncher"]["config"]["customRunLauncher"],
        "run_coordinator": daemon["runCoordinator"]["config"]["customRunCoordinator"],
        "compute_logs": {
            "module": "dagster_gcp.gcs.compute_log_manager",
            "class": values["computeLogManager"]["type"],
            "config": values["computeLogManager"]["config"]["gcsComputeLogManager"],
        },
        "python_logs": snaked(values["pythonLogs"]),
        "run_monitoring": snaked(daemon["runMonitoring"]),
        "run_retries": snaked(daemon["runRetries"]),
        "sensors": snaked(daemon["sensors"]),
        "schedules": snaked(daemon["schedules"]),
        "telemetry": values["telemetry"],
        "retention": {name: snaked(values["retention"][name]) for name in ("sensor", "schedule")},
        **values["additionalInstanceConfig"],
    }


@dataclass
class Cluster:
    """The part of the Kubernetes API that a launch needs: it accepts every job, and remembers it."""

    host: PictureHost = field(default_factory=PictureHost)
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host.answers[JOBS] = self._create

    async def _create(self, request: web.Request) -> web.Response:
        self.jobs.append(await request.json())
        return web.json_response({"apiVersion": "batch/v1", "kind": "Job"}, status=201)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    with cluster.host:
        yield cluster


@pytest.fixture
def instance(
    values: dict[str, Any],
    cluster: Cluster,
    new_database: Callable[..., URL],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    """The instance of the shipped values; only where the database and the cluster are differs."""
    database = new_database()
    values["postgresql"] |= {
        "postgresqlUsername": database.username,
        "postgresqlHost": "",
        "postgresqlDatabase": database.database,
        "postgresqlParams": {**database.query},
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "here", "cluster": {"server": cluster.host.url("")}}],
                "users": [{"name": "me", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "current-context": "here",
            }
        )
    )
    values["runLauncher"]["config"]["customRunLauncher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig),
    }
    values["additionalInstanceConfig"]["code_servers"] = {"wait_for_local_processes_on_shutdown": True}
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "unused")
    monkeypatch.setenv("DAGSTER_HOME", "/opt/dagster/dagster_home")
    monkeypatch.setenv("DAGSTER_CURRENT_IMAGE", "registry.example.com/cata-pipeline:1.2.3")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(rendered(values)))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def test_the_values_make_an_instance_that_behaves_as_the_one_of_a_single_machine(instance: dg.DagsterInstance) -> None:
    here = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    assert isinstance(instance.run_launcher, PodRunLauncher)
    assert isinstance(instance.run_coordinator, FleetRunCoordinator)
    for name in ("run_retries", "python_logs", "sensors", "schedules", "telemetry", "nux"):
        assert instance.get_settings(name) == here[name]
    monitoring = instance.get_settings("run_monitoring")
    for name in ("max_runtime_seconds", "cancel_timeout_seconds", "poll_interval_seconds"):
        assert monitoring[name] == here["run_monitoring"][name]
    limits = instance.get_concurrency_config().run_queue_config
    assert limits is not None
    assert limits.tag_concurrency_limits == here["concurrency"]["runs"]["tag_concurrency_limits"]
    retention = instance.get_settings("retention")
    assert retention["schedule"] == here["retention"]["schedule"]
    kept = here["retention"]["sensor"]["purge_after_days"]
    assert {**retention["sensor"]["purge_after_days"], **kept} == retention["sensor"]["purge_after_days"]


def test_a_run_becomes_a_job_that_has_settings_and_credentials_and_is_nobodys_root(
    instance: dg.DagsterInstance, cluster: Cluster
) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi-kita"])
    target = ModuleTarget("cata_pipeline.definitions", None, None, "cata-pipeline")
    with create_test_daemon_workspace_context(target, instance) as context:
        workspace = context.create_request_context()
        job = workspace.get_code_location("cata-pipeline").get_repository("__repository__").get_full_job("sync_tenants")
        run = instance.create_run_for_job(
            job_def=defs.resolve_job_def("sync_tenants"),
            tags=range_tags(["kopi-kita"]),
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        instance.launch_run(run.run_id, workspace)
    [created] = cluster.jobs
    template = created["spec"]["template"]
    [container] = template["spec"]["containers"]
    assert container["image"] == "registry.example.com/cata-pipeline:1.2.3"
    assert {next(iter(source.values()))["name"] for source in container["envFrom"]} == {
        "dagster-pipeline-env",
        "cata-pipeline",
        "cata-pipeline-tenants",
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert created["spec"]["backoffLimit"] == 0, "only run_retries starts a run again"
    [policy] = documents("network-policy.yaml")
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= template["metadata"]["labels"].items()
    passwords = [entry for entry in container["env"] if entry["name"] == "DAGSTER_PG_PASSWORD"]
    assert [entry["valueFrom"]["secretKeyRef"]["name"] for entry in passwords] == ["cata-dagster-postgresql"]


def test_whether_a_run_is_alive_is_no_question_to_kubernetes(
    instance: dg.DagsterInstance, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = instance.create_run_for_job(job_def=defs.resolve_job_def("check_fleet"))
    assert instance.run_launcher.supports_check_run_worker_health
    with held_run_lock(instance, run.run_id):
        while not run_lock_is_held(instance, run.run_id):
            pass
        assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    clock = iter((0.0, GRACE_SECONDS / 2, GRACE_SECONDS))
    monkeypatch.setattr(run_launchers, "monotonic", lambda: next(clock))
    found = [instance.run_launcher.check_run_worker_health(run).status for _ in range(3)]
    assert found == [WorkerStatus.RUNNING, WorkerStatus.RUNNING, WorkerStatus.FAILED]
    assert cluster.host.seen == []


def test_the_environment_names_exactly_what_settings_read_and_holds_together() -> None:
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents("environment.yaml")}
    environment = by_name["ConfigMap", "cata-pipeline"]["data"] | by_name["Secret", "cata-pipeline"]["stringData"]
    assert Settings.from_environment(environment).production
    read = {field.alias for field in Settings.model_fields.values()}
    assert environment.keys() == read - NOT_IN_PRODUCTION
    for secret in by_name["Secret", "cata-pipeline-tenants"]["stringData"].values():
        assert json.loads(secret).keys() == {"api_key", "api_secret"}
    assert "gcp-secret:" in EXPECTED


def test_the_code_location_reads_the_same_settings_but_no_tenants_credentials(values: dict[str, Any]) -> None:
    [deployment] = values["dagster-user-deployments"]["deployments"]
    launcher = values["runLauncher"]["config"]["customRunLauncher"]["config"]
    made_by_the_chart, *config_maps = launcher["env_config_maps"]
    assert made_by_the_chart == "dagster-pipeline-env"
    assert deployment["envConfigMaps"] == [{"name": name} for name in config_maps]
    assert deployment["envSecrets"] == [{"name": "cata-pipeline"}]
    defined = {document["metadata"]["name"] for document in documents("environment.yaml")}
    assert launcher["postgres_password_secret"] == values["global"]["postgresqlSecretName"]
    assert {*config_maps, *launcher["env_secrets"], launcher["postgres_password_secret"]} == defined


def test_the_values_have_only_keys_that_the_chart_reads(values: dict[str, Any]) -> None:
    [deployment] = values["dagster-user-deployments"]["deployments"]
    for name, known in OF_THE_CHART.items():
        assert (deployment if name == "deployments" else values[name]).keys() <= known


@pytest.mark.parametrize("family", [4, 6])
def test_the_network_policy_takes_away_nothing_that_the_guard_allows(family: int) -> None:
    [policy] = documents("network-policy.yaml")
    public = policy["spec"]["egress"][-1]["to"]
    [block] = [peer["ipBlock"] for peer in public if ip_network(peer["ipBlock"]["cidr"]).version == family]
    guard = AddressPolicy()
    for text in block["except"]:
        network = ip_network(text)
        for address in (network[0], network[network.num_addresses // 2], network[-1]):
            with pytest.raises(AddressDeniedError):
                guard.check(str(address), 443)
    for text in {4: ("10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1"), 6: ("::1", "fd00::1")}[
        family
    ]:
        outside = ip_address(text) not in ip_network(block["cidr"])
        assert outside or any(ip_address(text) in ip_network(denied) for denied in block["except"])
