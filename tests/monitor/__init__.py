"""Tests of what the platform measures of itself. Edge."""
