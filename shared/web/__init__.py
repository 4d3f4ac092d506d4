"""What every HTTP service shares: one factory with problem+json errors, health, metrics and limits."""

from shared.web.app import create_app
from shared.web.server import open_connections, serve

__all__ = ["create_app", "open_connections", "serve"]
