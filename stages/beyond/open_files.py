"""Ten thousand connections at once need as many open files."""

import sys

WANTED = 10_500
"""Open files for 10,000 connections, and some to spare."""


def allow_many() -> None:
    """Raise this process's limit of open files, if it is too low; tell if the system does not let us."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < WANTED:
        print(
            f"this system allows {wanted} open files: expected {WANTED} for 10000 connections (see `ulimit -Hn`)",
            file=sys.stderr,
        )
