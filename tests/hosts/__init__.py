"""Tests of how machines and processes are reached. Edge."""
