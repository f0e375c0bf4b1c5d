"""The ledger: accounts, money and content over three shards, written against the public API only. Pure."""
