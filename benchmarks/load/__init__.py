"""The load generator: a process of its own that takes a plan on stdin and answers what it measured on stdout."""
