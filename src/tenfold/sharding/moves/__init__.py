"""Moves: buckets and tables that go from one shard to another while the platform is served. Pure."""
