"""The import paths of the extension guide: re-exports, nothing else."""
