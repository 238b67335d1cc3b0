"""`python -m supervisor` is the `cloudcore` command."""

from supervisor.cli import main

if __name__ == "__main__":
    main()
