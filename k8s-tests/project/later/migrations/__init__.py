"""One migration, which fails."""
