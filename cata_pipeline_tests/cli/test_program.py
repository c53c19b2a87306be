"""How an error ends the program, whichever command it comes from, and what its two streams let through."""

import json
import logging
import os
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cata_pipeline.cli.printing import print_json
from cata_pipeline.cli.program import Program
from cata_pipeline.errors import UsageError
from cata_pipeline.foreign_text import printable


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


@program.command()
@click.argument("text")
def fail(text: str) -> None:
    click.echo(text)
    logging.getLogger("cata_pipeline.work").warning("Logged %s", text)
    raise RuntimeError(text)


@program.command()
@click.argument("text")
def show(text: str) -> None:
    click.echo(text)
    print_json({"name": text})


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


@pytest.mark.parametrize(
    "text", ["Kopi\u202eusuS", "Kopi\u200b", "\x1b[2J", "\x9b2J", "\u2029", "\U000e0041", "\ufe0f", "\u3164"]
)
def test_a_trace_and_a_log_line_reach_the_terminal_escaped_too(text: str) -> None:
    command = [sys.executable, "-c", f"from {__name__} import program; program()", "fail", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    escaped = ascii(text)[1:-1]
    assert done.returncode == 1
    assert f"Logged {escaped}\n" in done.stderr
    assert done.stderr.endswith(f"RuntimeError: {escaped}\n")
    assert text not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped_too_and_json_stays_equal(encoding: str) -> None:
    text = "Kopi\u202e é 鱼 🍜"
    command = [sys.executable, "-c", f"from {__name__} import program; program()", "show", text]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, encoding=encoding, check=True)
    line, _, told = done.stdout.partition("\n")
    assert line == text.replace("\u202e", "\\u202e").encode(encoding, "backslashreplace").decode(encoding)
    assert json.loads(told) == {"name": text}
    assert "\u202e" not in told


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    command = shlex.join([sys.executable, "-c", f"from {__name__} import program; program()", "show", "Kopi"])
    assert (
        subprocess.run(["/bin/sh", "-c", f"exec {command} {closed}>&-"], capture_output=True, check=False).returncode
        == 0
    )


def test_letters_of_every_script_and_symbols_stay_as_they_are() -> None:
    kept = "Susu é ñ 鱼香肉丝 ラーメン 김치 كوشري नान ก๋วยเตี๋ยว 🍜 ☕ ½ \u00a0 €"
    assert printable(kept) == kept


def test_no_format_character_of_unicode_is_left_out() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    raw = [c for c in every if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and printable(c) == c]
    assert raw == ["\n"]
