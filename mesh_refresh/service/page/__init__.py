"""The page for operators: rendered on the server, and of use without JavaScript. See docs/page.md."""
