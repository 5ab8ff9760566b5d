"""Write the graphs of the Snakefile in the working directory to a file, as JSON.

python graph.py '[["all", {"preset": "real"}], …]' FILE writes all jobs of each target with its settings.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

from palimpsest import code_digest

files_of: dict[str, list[str]] = {}
"""Files of each digest."""
make_digest = code_digest.files_digest


def files_digest(files: list[str]) -> str:
    digest = make_digest(files)
    files_of[digest] = files
    return digest


code_digest.files_digest = files_digest


def graph(target: str, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(config=config),
            snakefile=Path("Snakefile"),
        )
        workflow.dag(DAGSettings(targets={target}, forceall=True)).execute_workflow(executor="dryrun")
        return [
            {
                "rule": job.rule.name,
                "wildcards": dict(job.wildcards_dict),
                "input": list(job.input),
                "code": files_of[job.params.code],
                "output": list(job.output),
                "params": {name: str(value) for name, value in job.params.items()},
                "log": job.log[0],
                "resources": {name: value for name, value in job.resources.items() if isinstance(value, int)},
            }
            for job in workflow._workflow.dag.jobs  # the public interface only prints jobs
            if job.log
        ]


requests, destination = sys.argv[1:]
Path(destination).write_text(json.dumps([graph(*request) for request in json.loads(requests)]), encoding="utf-8")
