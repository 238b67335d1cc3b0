"""A whole cloudcore with two hollow edges, step by step: `make demo`, and the harness of tests.

    harness     a cloudcore process on free ports, in a temporary directory
    observe     waits until an object in the Kubernetes API is as expected
    walk        the steps
    __main__    the command

Run it as `python -m modules.hollow.demo`.
"""
