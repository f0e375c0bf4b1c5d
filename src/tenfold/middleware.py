"""What a web application wraps itself in, so that its requests are timed: `asgi`, `wsgi`. Edge."""

from tenfold.monitor.middleware import asgi, wsgi

__all__ = ["asgi", "wsgi"]
