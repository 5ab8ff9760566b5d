"""One loop that trains any method on any task, and can be interrupted at any step."""
