"""What the commands on a fleet share: options, opening a store, tables and logs."""
