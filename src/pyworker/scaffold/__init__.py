"""A new worker's folder, which runs, tests itself and passes a dry run at once."""
