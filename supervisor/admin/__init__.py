"""The admin interface: HTTP on a Unix socket that only this user can open, and on TCP if asked.

server.py       listens, on both
connections.py  the connections of one listener, bounded
http.py         one connection: a request in, an answer or a stream out (h11)
router.py       dispatches it to the handler of its route
routes.py       all routes, in one table (route.py describes one)
backend.py      what the handlers work on
openapi.py      the same table as an OpenAPI document
"""
