"""The rows of the first run. Pure."""
