"""CloudHub: holds the connections of edge nodes and routes messages both ways.

Its class is in module.py, not here: commands of this package are to start at once, and importing
them imports this file.
"""
