"""What HTML pages and the JSON API share: who asks, what is refused, how answers leave. Pure."""
