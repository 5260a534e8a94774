"""A dry run: what would fail in production, found in seconds and without a model server."""
