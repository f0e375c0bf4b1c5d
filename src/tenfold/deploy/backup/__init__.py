"""Backups that count only once they were restored: made, verified, kept and brought back. Pure."""
