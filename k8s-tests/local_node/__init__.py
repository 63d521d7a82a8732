"""A Kubernetes node on this machine without Docker: its programs from Go modules, the rest from Debian packages."""
