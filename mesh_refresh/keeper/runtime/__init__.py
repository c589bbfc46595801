"""All of a keeper that awaits: claiming, sending, writing, and the tasks that it runs. Decisions are in `rules`."""
