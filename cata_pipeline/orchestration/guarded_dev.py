"""`dagster dev` with `guarded_webserver` in place of its own: `python -m cata_pipeline.orchestration.guarded_dev`."""

from cata_pipeline.orchestration.dagster_internals import run_dev

if __name__ == "__main__":
    run_dev("cata_pipeline.orchestration.guarded_webserver")
