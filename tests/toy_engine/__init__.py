"""An engine of a project's own, as docs/engines.md describes one."""
