"""What all objects have in common, whatever their kind, and what may be wrong with one."""
