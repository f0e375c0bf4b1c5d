"""The HTML pages. Pure."""
