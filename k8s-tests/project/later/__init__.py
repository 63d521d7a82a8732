"""An app that a later release brings, whose migration fails."""
