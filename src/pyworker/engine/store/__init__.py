"""What an engine must not forget: a SQLite file, and the lock that keeps it one engine's."""
