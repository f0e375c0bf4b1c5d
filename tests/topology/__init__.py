"""Tests of topology. Edge."""
