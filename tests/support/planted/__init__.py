"""A worker with nothing wrong, and mistakes to plant into it: each with what a dry run must say of it."""
