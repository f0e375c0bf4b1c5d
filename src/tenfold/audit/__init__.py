"""One append-only, hash-chained trail of who did what. Pure."""
