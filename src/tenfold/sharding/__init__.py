"""SQL on many shards as on one: where rows live, and how statements reach them. Pure."""
