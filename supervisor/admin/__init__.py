"""The admin interface: HTTP on a Unix socket that only this user can open, and on TCP if asked.

server.py       listens, on both
connections.py  the connections of one listener, bounded
http.py         one connection: a request in, an answer or a stream out (h11)
router.py       finds who answers it
routes.py       what there is to ask and to do, in one table
openapi.py      the same table as an OpenAPI document
"""
