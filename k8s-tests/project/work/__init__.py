"""Tasks whose ends can be counted."""
