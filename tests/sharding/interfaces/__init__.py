"""Tests of what other libraries expect a database to look like. Pure."""
