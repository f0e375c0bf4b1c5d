"""Tests of the mover on real shards. Edge."""
