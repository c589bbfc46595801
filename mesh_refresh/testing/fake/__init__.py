"""The fake Mesh: what it answers, and the HTTP server around it."""
