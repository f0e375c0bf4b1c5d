"""What other libraries expect a database to look like: PEP 249. Pure."""
