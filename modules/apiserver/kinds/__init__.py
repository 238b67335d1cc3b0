"""The built-in kinds, and the rules of single kinds."""
