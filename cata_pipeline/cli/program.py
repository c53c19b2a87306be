"""The program as a whole: how an error ends it. What single commands do belongs to the modules named after them."""

import sys
from typing import Any

import click

from cata_pipeline.cli.arguments import EXIT_WRONG_USE
from cata_pipeline.errors import CataError


class Program(click.Group):
    """Turns an error that an operator can act on into its message and exit status 2, whichever command raised it."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the arguments name, and exit."""
        try:
            return super().main(*args, **kwargs)
        except CataError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(EXIT_WRONG_USE)
