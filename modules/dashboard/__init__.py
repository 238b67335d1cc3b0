"""The dashboard: a status page in the browser, and the control verbs for who has logged in.

Its class is in module.py, not here: commands of this package are to start at once, and importing
them imports this file.
"""
