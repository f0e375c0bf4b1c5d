"""The balancer: what nginx is told, and how it is told. Pure."""
