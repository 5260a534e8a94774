"""Import paths of older clients."""
