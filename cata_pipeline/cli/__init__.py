"""The command line: `cata-pipeline`. Reads arguments, calls one function, prints; decides nothing itself.

Exit status: 0 all well; 1 some tenants failed, or the reader of standard output went away; 2 wrong use or settings, or
a full disk. With `--json`, standard output holds one JSON object and nothing else; what is happening meanwhile goes to
standard error. Each module here holds the commands it is named after; a new command is listed below.
"""

import click

from cata_pipeline.cli.embedded import demo, dev
from cata_pipeline.cli.history import history
from cata_pipeline.cli.program import Program
from cata_pipeline.cli.providers import providers
from cata_pipeline.cli.registry import tenants
from cata_pipeline.cli.runs import images, sync
from cata_pipeline.cli.status import status


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cata-pipeline")
def main() -> None:
    """Keeps each tenant's catalog in step with its POS, without overwriting what its people changed."""


for command in (tenants, providers, sync, images, status, history, demo, dev):
    main.add_command(command)
