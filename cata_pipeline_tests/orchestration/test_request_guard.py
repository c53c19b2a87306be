"""What the guarded webserver refuses, by header: Dagster's real webserver with an instance of its own and no code."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cata_pipeline_tests.integration.dev_server import PATIENCE_SECONDS, unused_port

OWN_URL = "https://dagster.example.com/"
QUERY = {"query": "{ version }"}
PORT = "PORT"  # stands for the port that the server listens on


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with httpx.Client(trust_env=False) as client:
        number = unused_port()
        options = ["--empty-workspace", "--host", "127.0.0.1", "--port", str(number)]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cata_pipeline.orchestration.guarded_webserver", *options],
                env={"DAGSTER_HOME": str(home), "CATA_DAGSTER_URL": OWN_URL},
                stdout=log,
                stderr=log,
                cwd=home,
            )
        try:
            await_reply(client, f"http://127.0.0.1:{number}/server_info", process, home / "log")
            yield number
        finally:
            process.terminate()
            process.wait()


def await_reply(client: httpx.Client, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


def reply(port: int, method: str = "POST", path: str = "/graphql", **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value.replace(PORT, str(port)) for name, value in headers.items()}
    body, parameters = (QUERY, None) if method == "POST" else (None, QUERY)
    url = f"http://127.0.0.1:{port}{path}"
    return httpx.request(method, url, headers=headers, json=body, params=parameters, trust_env=False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:PORT"},
        {"Host": "[::1]:PORT"},
        {"Host": "localhost:PORT", "Origin": "http://localhost:PORT", "Sec_Fetch_Site": "same-origin"},
        {"Host": "dagster.example.com"},
        {"Host": "dagster.example.com", "Origin": "https://dagster.example.com"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_requests_of_the_uis_own_pages_and_of_programs_are_served(port: int, headers: dict[str, str]) -> None:
    answer = reply(port, **headers)
    assert (answer.status_code, list(answer.json()["data"])) == (200, ["version"])


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Host": "rebound.example:PORT"}, "Host"),
        ({"Host": "127.0.0.1"}, "Host"),
        ({"Host": "127.0.0.1:1"}, "Host"),
        ({"Host": "localhost.:PORT"}, "Host"),
        ({"Host": "localhost.rebound.example:PORT"}, "Host"),
        ({"Host": "user@localhost:PORT"}, "Host"),
        ({"Host": "dagster.example.com:8443"}, "Host"),
        ({"Host": ""}, "Host"),
        ({"X_Forwarded_Host": "127.0.0.1:PORT", "Host": "rebound.example"}, "Host"),
        ({"Origin": "https://other-site.example"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
        ({"Origin": "http://127.0.0.1"}, "Origin"),
        ({"Origin": "http://127.0.0.1:1"}, "Origin"),
        ({"Origin": "https://127.0.0.1:PORT"}, "Origin"),
        ({"Origin": "http://localhost:PORT"}, "Origin"),
        ({"Origin": "http://dagster.example.com", "Host": "dagster.example.com"}, "Origin"),
        ({"Sec_Fetch_Site": "cross-site"}, "Sec-Fetch-Site"),
        ({"Sec_Fetch_Site": "same-site"}, "Sec-Fetch-Site"),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}, "Sec-Fetch-Site"),
    ],
)
def test_any_other_request_is_refused_with_what_was_expected_and_found(
    port: int, headers: dict[str, str], refused: str
) -> None:
    answer = reply(port, **headers)
    assert answer.status_code == 403
    assert answer.text.startswith(f"Refused: expected {refused} ")
    assert "CATA_DAGSTER_URL" in answer.text


def test_a_health_check_under_any_name_is_served(port: int) -> None:
    assert reply(port, "GET", "/server_info", Host="10.0.0.7:80").is_success
    assert not reply(port, "GET", "/assets/server_info", Host="10.0.0.7:80").is_success


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_graphql_is_not_executed_by_get(port: int, method: str, path: str) -> None:
    answer = reply(port, method, path)
    assert answer.status_code == 403
    if method == "GET":
        assert "expected a GraphQL request by POST" in answer.text


def test_the_editor_and_a_link_from_another_site_are_served(port: int) -> None:
    link = {"Accept": "text/html", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}
    for path in ("/graphql", "/runs/some-run"):
        answer = reply(port, "GET", path, **link)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert reply(port, "GET", path, **link | {"Sec_Fetch_Dest": "iframe"}).status_code == 403


def test_a_malformed_url_of_the_ui_ends_the_webserver_with_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cata_pipeline.orchestration.guarded_webserver", "--empty-workspace", "--port", "1"],
        env={"DAGSTER_HOME": str(tmp_path), "CATA_DAGSTER_URL": "dagster.example.com"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Error: " in done.stderr
    assert "CATA_DAGSTER_URL is not a base URL; expected https://host/path/." in done.stderr
    assert "Traceback" not in done.stderr
