"""The program as a whole: its streams, and how an error ends it.

What a command does belongs to the module named after it.
"""

import sys
from typing import Any

import click

from cata_pipeline.cli.arguments import EXIT_WRONG_USE
from cata_pipeline.cli.streams import install_streams
from cata_pipeline.errors import CataError, disk_full


class Program(click.Group):
    """Turns an error that an operator can act on into its message and exit status 2, whichever command raised it."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the arguments name, and exit."""
        install_streams()
        try:
            return super().main(*args, **kwargs)
        except CataError as error:
            message = str(error)
        except OSError as error:
            full = disk_full(error)
            if full is None:
                raise
            message = full
        click.echo(f"Error: {message}", err=True)
        sys.exit(EXIT_WRONG_USE)
