"""What the commands share: messages, questions, exit codes, signals and MFA codes."""
