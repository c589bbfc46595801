"""Moving logins between two stores."""
