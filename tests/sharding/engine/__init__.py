"""Tests of the part of sharding that touches shards. Pure."""
