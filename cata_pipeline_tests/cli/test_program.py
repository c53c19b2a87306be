"""How an error ends the program, whichever command it comes from."""

from pathlib import Path

import click
from click.testing import CliRunner, Result

from cata_pipeline.cli.program import Program
from cata_pipeline.errors import UsageError


@click.group(cls=Program)
def program() -> None:
    pass


@program.command()
def refuse() -> None:
    raise UsageError("Name a tenant.")


@program.command()
@click.argument("file", type=click.Path(path_type=Path))
def write(file: Path) -> None:
    file.write_text("all of it")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def test_an_error_that_an_operator_can_act_on_is_its_message_and_status_2() -> None:
    result = run("refuse")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "Error: Name a tenant.\n")


def test_a_full_disk_is_reported_and_ends_with_status_2() -> None:
    result = run("write", "/dev/full")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: This machine cannot write a file: No space left on device. Make room on its disk, then start again.\n"
    )


def test_any_other_error_keeps_its_trace(tmp_path: Path) -> None:
    assert isinstance(run("write", str(tmp_path)).exception, IsADirectoryError)
