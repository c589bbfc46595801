"""The command ``refresh`` under a hostile shell: signals, failing files and other runs, at each of its steps."""
