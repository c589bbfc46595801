"""What awaits: claiming, sending, writing, and the tasks that a keeper runs."""
