"""Keeps what a browser showed when a test of the UI failed, in its or in its fixture's failure."""

from collections.abc import Generator
from pathlib import Path

import pytest

from cata_pipeline_tests.integration.dagster_ui import DagsterUi


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    ui, folder = item.funcargs.get("ui"), item.funcargs.get("evidence")
    if report.failed and isinstance(ui, DagsterUi) and isinstance(folder, Path):
        ui.keep(folder / item.name)
        report.sections.append(("Browser", f"What it showed is in {folder / item.name}"))
    return report
