"""Who is told, and how: one outbox and its channels for all. Pure."""
