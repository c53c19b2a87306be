"""Pages of other sites in the browser of somebody who runs `cata-pipeline dev`: none launches a run.

Each attack also runs on Dagster's own webserver beside it, on the same instance, where it must launch one: otherwise
its failure would prove nothing.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import expect

from cata_pipeline.demo.surroundings import PROJECT
from cata_pipeline_tests.integration.dagster_ui import BROWSER, DagsterUi, browsing
from cata_pipeline_tests.integration.dev_server import LAUNCH, RUNS, Dev, running_dev, unused_port

OTHER_SITE, REBOUND = "other-site.example", "rebound.example"
ATTACKS = {
    "image": """target => new Promise(done => {
        const image = new Image()
        image.onload = image.onerror = done
        image.src = target
    })""",
    "fetch": "target => fetch(target, {mode: 'no-cors'}).catch(() => {})",
    "fetch with cookies": "target => fetch(target, {mode: 'no-cors', credentials: 'include'}).catch(() => {})",
    "fetch by POST": "target => fetch(target, {mode: 'no-cors', method: 'POST', body: 'x'}).catch(() => {})",
    "form": """target => new Promise(done => {
        document.body.innerHTML = '<iframe name="frame"></iframe><form method="POST" target="frame"></form>'
        document.querySelector('iframe').onload = done
        const form = document.querySelector('form')
        form.action = target
        form.submit()
    })""",
}
FROM_A_REBOUND_NAME = """target => {
    const {pathname, searchParams} = new URL(target)
    const [query, variables] = [searchParams.get('query'), JSON.parse(searchParams.get('variables'))]
    const [headers, body] = [{'Content-Type': 'application/json'}, JSON.stringify({query, variables})]
    return fetch(pathname, {method: 'POST', headers, body}).then(reply => reply.status)
}"""
OPENS_SOCKET = """target => new Promise(done => {
    const socket = new WebSocket(target, 'graphql-ws')
    socket.onopen = () => done('opened')
    socket.onerror = () => done('refused')
})"""


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    if shutil.which(BROWSER) is None:
        pytest.skip(f"{BROWSER} is not installed")
    with running_dev() as running:
        running.wait_for("the UI", running.partitions)
        yield running


@pytest.fixture(scope="module")
def unguarded(dev: Dev) -> Iterator[str]:
    """The origin of Dagster's own webserver, for the same instance and code."""
    port = unused_port()
    command = [sys.executable, "-m", "dagster_webserver", "--port", str(port)]
    with (
        (dev.folder / "unguarded.log").open("wb") as log,
        subprocess.Popen(
            [*command, "--workspace", str(PROJECT / "workspace.yaml")],
            env=dev.environment(),
            cwd=dev.folder,
            stdout=log,
            stderr=log,
        ) as process,
    ):

        def serves() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/server_info", trust_env=False).is_success
            except httpx.TransportError:
                return False

        dev.wait_for("Dagster's own webserver", serves)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module")
def foreign_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a web server of another site listens, with a page that has nothing of its own."""
    folder = tmp_path_factory.mktemp("other-site")
    (folder / "index.html").write_text("<body>Another site</body>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def ui(dev: Dev) -> Iterator[DagsterUi]:
    with browsing(dev.origin, names=[OTHER_SITE, REBOUND]) as ui:
        yield ui


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


def launching(origin: str, mark: str) -> str:
    """A URL that launches a run with a tag, where GraphQL in a URL is executed."""
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "cata_pipeline",
        "jobName": "sync_tenants",
    }
    tags = [{"key": "attack", "value": mark}, {"key": "dagster/partition", "value": "nobody"}]
    run = {"selector": selector, "executionMetadata": {"tags": tags}}
    return f"{origin}/graphql?{urlencode({'query': LAUNCH, 'variables': json.dumps({'run': run})})}"


def launched(dev: Dev, mark: str) -> int:
    return len(dev.ask(RUNS, filter={"tags": [{"key": "attack", "value": mark}]})["runsOrError"]["results"])


@pytest.mark.parametrize("site", [OTHER_SITE, "localhost"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_page_of_another_site_launches_no_run(
    dev: Dev, unguarded: str, foreign_port: int, ui: DagsterUi, attack: str, site: str
) -> None:
    ui.page.goto(f"http://{site}:{foreign_port}/")
    for origin, runs in ((unguarded, 1), (dev.origin, 0)):
        mark = f"{attack} from {site} to {origin}"
        ui.page.evaluate(ATTACKS[attack], launching(origin, mark))
        assert launched(dev, mark) == runs, mark


def test_a_foreign_name_for_the_uis_address_launches_no_run(dev: Dev, unguarded: str, ui: DagsterUi) -> None:
    for origin, status, runs in ((unguarded, 200, 1), (dev.origin, 403, 0)):
        port = httpx.URL(origin).port
        ui.page.goto(f"http://{REBOUND}:{port}/server_info")
        assert ui.page.evaluate(FROM_A_REBOUND_NAME, launching(origin, f"rebound to {origin}")) == status
        assert launched(dev, f"rebound to {origin}") == runs


def test_a_page_of_another_site_opens_no_web_socket(dev: Dev, unguarded: str, foreign_port: int, ui: DagsterUi) -> None:
    for site in (OTHER_SITE, "localhost"):
        ui.page.goto(f"http://{site}:{foreign_port}/")
        for origin, outcome in ((unguarded, "opened"), (dev.origin, "refused")):
            assert ui.page.evaluate(OPENS_SOCKET, f"{origin.replace('http', 'ws')}/graphql") == outcome
    ui.open("server_info")
    assert ui.page.evaluate(OPENS_SOCKET, f"ws://127.0.0.1:{dev.port}/graphql") == "opened"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_ui_works_under_its_own_names_and_from_a_link(
    dev: Dev, foreign_port: int, ui: DagsterUi, name: str
) -> None:
    ui.page.goto(f"http://{OTHER_SITE}:{foreign_port}/")
    ui.page.evaluate("address => { location.href = address }", f"http://{name}:{dev.port}/assets")
    expect(ui.page.get_by_role("button", name="Materialize selected")).to_be_visible()
    mark = f"its own page at {name}"
    assert ui.page.evaluate(FROM_A_REBOUND_NAME, launching(dev.origin, mark)) == 200
    assert launched(dev, mark) == 1
