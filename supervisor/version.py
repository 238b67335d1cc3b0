"""Which cloudcore this is."""

from importlib.metadata import PackageNotFoundError, version


def current() -> str:
    """Return the installed version, or `0+unknown` when run from sources never installed."""
    try:
        return version("cloudcore")
    except PackageNotFoundError:
        return "0+unknown"
