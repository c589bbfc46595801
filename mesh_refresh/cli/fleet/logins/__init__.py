"""Commands on logins."""
