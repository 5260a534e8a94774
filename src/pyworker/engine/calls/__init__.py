"""The engine's calls over HTTP: each parses, asks the engine, and answers."""
