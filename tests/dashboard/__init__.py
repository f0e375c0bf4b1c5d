"""Tests of the page: its view, its server, and what a browser makes of it. Pure."""
