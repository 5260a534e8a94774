"""The engine: workers report to it, and it says which one a request goes to."""
