"""What every command shares: messages, questions, exit codes, signals and MFA codes."""
