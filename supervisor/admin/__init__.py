"""The admin interface: HTTP on a Unix socket that only this user can open, and optionally on TCP.

server.py       listens on both
connections.py  the connections of one listener, limited in number
http.py         one connection: a request in, an answer or a stream out (h11)
router.py       dispatches a request to the handler of its route
routes.py       all routes, in one table (route.py has the type of its rows)
backend.py      what the handlers work on
openapi.py      the same table as an OpenAPI document
"""
