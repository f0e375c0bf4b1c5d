"""Platforms that show what Tenfold does, as a user would write them. Pure."""
