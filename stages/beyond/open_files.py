"""Ten thousand connections at once need as many open files."""

import logging
import sys

WANTED = 10_500
"""Open files for 10,000 connections, and some to spare."""


def allow_many() -> None:
    """Raise this process's limit of open files, if it is too low; tell if the system does not let us."""
    logging.getLogger("asyncio").addFilter(in_one_line)
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


def in_one_line(record: logging.LogRecord) -> bool:
    """Spare the terminal the traceback with which asyncio reports a connection that it could not accept."""
    record.msg, record.args, record.exc_info = record.getMessage().partition("\n")[0], (), None
    return True
