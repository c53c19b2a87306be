"""Everything that knows Dagster: assets, jobs, schedules, sensors, and how results become metadata."""

import warnings

import dagster as dg

# Backfill policies still count as beta; without this, every command would say so on every start.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
