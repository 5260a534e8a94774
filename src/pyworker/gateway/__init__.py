"""The gateway: any HTTP client, with an API key and an endpoint's name in the path, reaches that endpoint's workers."""
