"""The real definitions with a pipeline of their own each time they are loaded, as in a new process."""

import dagster as dg

from cata_pipeline.definitions import build_defs


def fresh_defs() -> dg.Definitions:
    return build_defs()
