"""Options of commands that keep a fleet fresh, and what they make of them."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial, wraps
from typing import Any
from urllib.parse import urlsplit

import click
from attrs import evolve, frozen

from mesh_refresh.cli.fleet.support.logs import logging_to_stderr
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet, make_client, make_policy
from mesh_refresh.cli.fleet.support.options import duration_option, spool_option
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.webhook_option import make_webhooks, webhook_option
from mesh_refresh.cli.fleet.worker.summary import ExchangeCounts, describe_policy
from mesh_refresh.cli.own_app import NO_APP, OwnApp, app_option
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import App, Keeper, Policy
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.version import VERSION

_log = logging.getLogger("mesh_refresh.cli")


@frozen
class WorkerOptions:
    """How a process works, and what it logs."""

    app: OwnApp
    policy: Mapping[str, timedelta | float | None]
    """Fields of the policy; None: not given on the command line."""
    deadline: timedelta | None
    spool: str | None
    webhook: str | None
    log_json: bool
    quiet: bool
    share: tuple[int, int] = (1, 1)
    """The number of this process, and of how many that share the limits."""

    def logging(self) -> AbstractContextManager[None]:
        """Inside, standard error gets the log."""
        return logging_to_stderr(as_json=self.log_json, quiet=self.quiet)

    def check(self, location: StoreLocation) -> None:
        """Raise what is wrong with the options and the environment, before a process opens the fleet at `location`."""
        store, spool = location.open_store(create=False), location.spool(self.spool)
        make_webhooks(self.webhook)
        if self.app is NO_APP:
            Keeper(make_client(App(), self.deadline), store, policy=self.make_policy(Policy()), spool=spool)

    def open(self, location: StoreLocation, supervision: Supervision | None, **more: Any) -> OpenFleet:
        """The fleet at `location`, to be entered. `more` are fields of `OpenFleet`."""
        return OpenFleet(
            location,
            self.app,
            partial(make_client, deadline=self.deadline),
            self.make_policy,
            spool=self.spool,
            spools=True,
            tell=_log.warning,
            make_webhooks=partial(make_webhooks, self.webhook),
            supervision=supervision,
            announce=self._announce,
            **more,
        )

    def make_counts(self) -> ExchangeCounts | None:
        """What is summed up in place of a line an event. None: there are these lines."""
        return ExchangeCounts(time.monotonic()) if self.quiet else None

    def _announce(self, fleet: OpenFleet) -> None:
        facts = {
            "role": fleet.role,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "store": fleet.location.shown(),
            "mesh": urlsplit(fleet.mesh.base_url).netloc.rpartition("@")[2],
            "spool": fleet.spool_folder(),
            "app": self.app.name or None,
            "policy": describe_policy(fleet.policy),
        }
        _log.info("mesh-refresh %s begins", VERSION, extra={**facts, "version": VERSION})

    def make_policy(self, base: Policy) -> Policy:
        """This process's share of `base` with the options of the command line.

        A long --deadline, without --lease, makes the lease longer too.

        Raises `InvalidRequest` for a wrong value.
        """
        options = dict(self.policy)
        if options["lease"] is None and self.deadline is not None and self.deadline >= base.lease:
            options["lease"] = self.deadline * 1.5
        return share_policy(make_policy(options, base), *self.share)


def share_policy(policy: Policy, number: int, count: int) -> Policy:
    """The share of process `number`, from 1, of `count` in what may be sent. All shares together are the whole.

    Raises `InvalidRequest` where a process could send nothing.
    """
    if count > policy.concurrency:
        raise InvalidRequest("--processes must not be more than --concurrency, which they share.")

    def rate(whole: float | None) -> float | None:
        return None if whole is None else whole / count

    def slots(whole: int) -> int:
        return whole // count + (number <= whole % count)

    each = policy.concurrency_each
    return evolve(
        policy,
        concurrency=slots(policy.concurrency),
        concurrency_each=None if each is None else max(1, slots(each)),
        rate=rate(policy.rate),
        rate_each=rate(policy.rate_each),
    )


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a worker. The command gets `WorkerOptions` as `worker` in their place."""

    @app_option
    @wraps(command)
    def working(
        *arguments: Any,
        app: OwnApp,
        spool: str | None,
        webhook: str | None,
        concurrency: int | None,
        rate: float | None,
        keep_alive: timedelta | None,
        deadline: timedelta | None,
        lease: timedelta | None,
        resend_after: timedelta | None,
        confirm_after: timedelta | None,
        poll: timedelta | None,
        log_json: bool,
        quiet: bool,
        **others: Any,
    ) -> Any:
        policy = {
            "concurrency": concurrency,
            "rate": rate,
            "keep_alive": keep_alive,
            "lease": lease,
            "resend_after": resend_after,
            "confirm_after": confirm_after,
            "poll": poll,
        }
        worker = WorkerOptions(app, policy, deadline, spool, webhook, log_json, quiet)
        worker.make_policy(Policy())  # a wrong option is an error before anything is made
        return command(*arguments, worker=worker, **others)

    concurrency = f"Exchanges at the same time.  [default: {Policy().concurrency}]"
    for option in (
        webhook_option,
        spool_option,
        click.option("-q", "--quiet", is_flag=True, help="Log no line for each event, but a summary each minute."),
        click.option("--log-json", is_flag=True, help="Log in JSON, one object a line."),
        duration_option("--poll", "How often to ask the store what is due.  [default: 1s]"),
        duration_option(
            "--confirm-after", "Wait after a first refusal before one more request confirms it.  [default: 2m]"
        ),
        duration_option(
            "--resend-after", "Wait after an unknown outcome before the tokens are sent again.  [default: 2m]"
        ),
        duration_option("--lease", "How long a worker reserves a login; longer than --deadline.  [default: 3m]"),
        duration_option("--deadline", "Time limit of one exchange.  [default: 60s]"),
        duration_option("--keep-alive", "Refresh every account at least this often, even if its lifetime is unknown."),
        click.option(
            "--rate", type=click.FloatRange(0, min_open=True), help="Start at most this many exchanges a second."
        ),
        click.option("--concurrency", type=click.IntRange(1), help=concurrency),
    ):
        working = option(working)
    return working
