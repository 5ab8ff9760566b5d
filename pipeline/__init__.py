"""One thin entry module per stage; what they do lives in `palimpsest`, how they hang together in `rules/`."""
