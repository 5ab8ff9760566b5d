"""Training of any method on any task, resumable after an interruption at any step."""
