"""How machines and processes of the platform are reached. Pure."""
