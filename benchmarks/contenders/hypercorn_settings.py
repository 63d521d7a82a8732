"""hypercorn's settings, as Restate's vendor advises them: nothing of its own may end or slow a connection."""

h2_max_concurrent_streams = 2_147_483_647
keep_alive_max_requests = 2_147_483_647
keep_alive_timeout = 2_147_483_647
