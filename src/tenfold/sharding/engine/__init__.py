"""The part of sharding that touches shards: drivers, pools, catalog, runners. Edge."""
