"""Releases, migrations, gates, roll-back; backups and what they are worth. Pure."""
