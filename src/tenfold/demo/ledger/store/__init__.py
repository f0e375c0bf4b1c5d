"""Where the ledger keeps things: one file a capability, all SQL of the app. Pure."""
