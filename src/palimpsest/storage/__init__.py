"""Files that are never half written, and stored tasks that say what they belong to."""
