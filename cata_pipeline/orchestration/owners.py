"""Who owns the assets, jobs, schedules and sensors, as the UI shows and filters it."""

import warnings

import dagster as dg

# Jobs, schedules and sensors take owners since Dagster 1.12, as a beta; every process would warn of each.
warnings.filterwarnings("ignore", message="Parameter `owners`", category=dg.BetaWarning)

OWNERS = ["team:data-engineering"]
