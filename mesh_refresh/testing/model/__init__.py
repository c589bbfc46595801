"""What the fake knows of logins and tokens, and what it says was lost."""
