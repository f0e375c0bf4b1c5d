"""The workflow of the user's platform, rendered. Pure."""
