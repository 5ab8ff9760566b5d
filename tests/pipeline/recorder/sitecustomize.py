"""Record of the modules that each job of the pipeline imports; Python imports this file at its start."""

import atexit
import os
import sys
from pathlib import Path


def record() -> None:
    if "--log" not in sys.argv or Path(sys.argv[0]).parent.name != "pipeline":
        return
    folder = Path(os.environ["PALIMPSEST_RECORD"])
    log = Path(sys.argv[sys.argv.index("--log") + 1])
    loaded = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    imported = {str(path.relative_to(Path.cwd())) for path in loaded if path.is_relative_to(Path.cwd())}
    folder.mkdir(exist_ok=True)
    (folder / log.name).write_text("\n".join(sorted(imported)), encoding="utf-8")


if "PALIMPSEST_RECORD" in os.environ:
    atexit.register(record)
