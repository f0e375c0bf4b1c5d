"""The commands: each file parses its options, calls one package, and prints. Edge."""
