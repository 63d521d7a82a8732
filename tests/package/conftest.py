"""Real servers, as the integration tests have them."""

from tests.servers import addresses, servers

__all__ = ["addresses", "servers"]
