"""Tests of sharding. Pure."""
