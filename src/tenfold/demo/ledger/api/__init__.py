"""The JSON API: the same functions as the pages, under /api/. Pure."""
