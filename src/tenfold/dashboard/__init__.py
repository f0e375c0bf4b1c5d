"""The page beside the running platform: one dict for page and JSON, and the app that serves it. Pure."""
