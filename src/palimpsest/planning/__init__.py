"""Plan of a run for `palimpsest plan`: trainings, time on this machine, disk space and downloads."""
