"""How many connections a process can take without taking the last file descriptor from what else needs one."""

from contextlib import suppress

_WANTED = 8192


def fit_to_descriptors(connections: int) -> int:
    """At most `connections`, and at most half of the file descriptors that this process may have.

    Supervisors start a process with 1,024, and let it ask for more, which this does. Exchanges, the store and the spool
    need the others: without one, nothing is sent.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has no such limit
    except ImportError:
        return connections
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (_WANTED if limit == resource.RLIM_INFINITY else limit for limit in limits)
    if soft < _WANTED:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _WANTED), limits[1]))
            soft = min(hard, _WANTED)
    return min(connections, soft // 2)
