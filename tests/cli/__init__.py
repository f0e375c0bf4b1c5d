"""Tests of the commands. Edge."""
