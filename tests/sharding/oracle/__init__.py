"""The differential oracle: what one database answers, and what the shards answer. Pure."""
