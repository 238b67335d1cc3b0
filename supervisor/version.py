"""The version of cloudcore."""

from importlib.metadata import PackageNotFoundError, version


def current() -> str:
    """Return the installed version; `0+unknown` if cloudcore runs from sources, not installed."""
    try:
        return version("cloudcore")
    except PackageNotFoundError:
        return "0+unknown"
