"""Where Django finds the command."""
