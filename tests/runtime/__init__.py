"""Tests of the supervisor: decisions as functions, processes as real processes. Edge."""
