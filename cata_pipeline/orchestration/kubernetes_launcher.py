"""Runs on Kubernetes: Dagster's launcher, except that a lost run is noticed as everywhere else.

Named in `deploy/kubernetes/values.yaml`; nothing else imports it. Dagster's own launcher asks the Kubernetes API. It
takes a run for lost when the API does not respond, and when the run has no job because the command line serves it.
"""

from dagster_k8s import K8sRunLauncher

from cata_pipeline.orchestration.run_launchers import WatchedRuns


class PodRunLauncher(WatchedRuns, K8sRunLauncher):
    """Launches each run as a Kubernetes job."""
