"""Load tests: requests at a given rate, whatever becomes of them, and a summary."""
