"""The kinds that are built in, and the rules that only one of them has."""
