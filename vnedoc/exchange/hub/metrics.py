"""What a hub counts, as Prometheus reads it: counters of one process, and gauges read from the database when asked.

Counters are those of this process: a hub of several processes is scraped at each of them. Gauges about packages are
the same wherever they are asked for. No label holds what callers choose: systems, agencies and ids are no labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.errors import MissingExtraError, VnedocError

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as exc:
    raise MissingExtraError("hub.missing-server") from exc

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from vnedoc.exchange.hub.console.certificates import Watch
    from vnedoc.exchange.hub.limits import FairShare
    from vnedoc.exchange.hub.tls import RenewedTLS
    from vnedoc.exchange.stores.hub import HubStore
    from vnedoc.exchange.stores.pruning import PruneReport

__all__ = ["CONTENT_TYPE", "HubMetrics", "free_bytes"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "vnedoc_hub"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
# A recipient may ask once a minute, once a day, or after a holiday.
_DELIVERY_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86_400, 3 * 86_400, 10 * 86_400, 30 * 86_400)


class HubMetrics:
    """What one process of a hub counts.

    Args:
        store: The memory of the hub, for the gauges.
        clock: Tells the time.
    """

    def __init__(self, store: HubStore, *, clock: Callable[[], datetime.datetime]) -> None:
        self.registry = CollectorRegistry()
        self.connections: Callable[[], int] | None = None
        """Tells how many connections are open; ``None`` where nobody knows."""
        self.shares: FairShare | None = None
        """The room for uploads."""
        self.tls: RenewedTLS | None = None
        """How the hub speaks TLS with systems."""
        self.watch: Watch | None = None
        """The certificates whose ends matter, beside those of the hub."""
        self._received = self._counter(
            "inbound_received_total", "Packages that were taken over, without repetitions.", "kind"
        )
        self._rejected = self._counter(
            "inbound_verify_rejected_total", "Packages that were not taken over, by reason.", "reason"
        )
        self._duplicates = self._counter(
            "duplicate_detected_total", "Packages that came again and got the stored receipt."
        )
        self._bytes = self._counter("payload_bytes_total", "Bytes of the packages that were taken over.")
        self._submitted = self._counter("outbound_submitted_total", "Deliveries that were queued.")
        self._attempts = self._counter(
            "outbound_attempts_total",
            "Reports of recipients' systems about deliveries, by outcome.",
            "outcome",
        )
        self._retries = self._counter(
            "retry_scheduled_total", "Deliveries that failed and wait for their recipients again."
        )
        self._expired = self._counter("expired_total", "Deliveries that nobody fetched in time.")
        self._pruned = self._counter(
            "pruned_total", "Packages, and messages, that this process removed as old or refused.", "what"
        )
        self._pruned_bytes = self._counter("pruned_bytes_total", "Bytes of the packages that were removed.")
        self._requests = self._counter("requests_total", "Requests, by wire and status.", "wire", "status")
        self._logins = self._counter("logins_total", "Logins to the console, by outcome.", "outcome")
        self._limited = self._counter("limited_total", "What a limit turned away, by limit.", "limit")
        self._delivery = Histogram(
            f"{_PREFIX}_delivery_seconds",
            "From the package being taken over until its recipient's system reported a stage.",
            ["stage"],
            buckets=_DELIVERY_SECONDS,
            registry=self.registry,
        )
        self._seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "How long requests took, answers included.",
            ["wire"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_Gauges(self, store, clock))

    def received(self, kind: str, *, size: int, recipients: int) -> None:
        """Count a package that was taken over."""
        self._received.labels(kind).inc()
        self._bytes.inc(size)
        self._submitted.inc(recipients)

    def duplicate(self) -> None:
        """Count a package that came again."""
        self._duplicates.inc()

    def rejected(self, reason: str) -> None:
        """Count a package that was not taken over."""
        self._rejected.labels(reason).inc()

    def moved(self, stage: str, *, waited: datetime.timedelta, again: bool) -> None:
        """Count a report of a recipient's system."""
        self._attempts.labels(stage).inc()
        self._delivery.labels(stage).observe(max(0.0, waited.total_seconds()))
        if again:
            self._retries.inc()

    def expired(self, count: int) -> None:
        """Count deliveries that expired."""
        self._expired.inc(count)

    def pruned(self, report: PruneReport) -> None:
        """Count what was removed."""
        self._pruned.labels("payload").inc(report.payloads)
        self._pruned.labels("message").inc(report.messages)
        self._pruned_bytes.inc(report.payload_bytes)

    def request(self, wire: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(wire, str(status)).inc()
        self._seconds.labels(wire).observe(seconds)

    def login(self, outcome: str) -> None:
        """Count a login to the console: ``right``, ``wrong``, ``locked`` or ``late``, which was not looked at."""
        self._logins.labels(outcome).inc()

    def limited(self, limit: str) -> None:
        """Count what a limit turned away."""
        self._limited.labels(limit).inc()

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)


def free_bytes(store: HubStore) -> int | None:
    """Return the room on the disk that packages come in on; ``None`` if it cannot be told."""
    import shutil

    try:
        with store.payloads.temporary() as path:
            return shutil.disk_usage(path.parent).free
    except (OSError, VnedocError):
        return None


class _Gauges(Collector):
    def __init__(self, metrics: HubMetrics, store: HubStore, clock: Callable[[], datetime.datetime]) -> None:
        self._metrics = metrics
        self._store = store
        self._clock = clock

    def describe(self) -> list[Metric]:
        # Asked when it is registered: that is no reason to ask the database.
        return []

    def collect(self) -> Iterator[Metric]:
        now = self._clock()
        try:
            found = self._store.deliveries.open()
        except VnedocError:
            # A scrape that fails says less than one without these.
            found = None
        if found is not None:
            yield _gauge(
                "parked_messages", "Deliveries that an operator must look at.", found.counts.get("parked", 0)
            )
            by_status = GaugeMetricFamily(
                f"{_PREFIX}_deliveries", "Deliveries that are not done, by status.", labels=["status"]
            )
            for word in ("initial", "processing", "fail", "parked", "expired"):
                by_status.add_metric([word], found.counts.get(word, 0))
            yield by_status
            waits = 0.0 if found.oldest is None else (now - found.oldest).total_seconds()
            yield _gauge("outbox_oldest_age_seconds", "How long the oldest delivery waits.", max(0.0, waits))
            if found.audit_head_at is not None:
                age = (now - found.audit_head_at).total_seconds()
                yield _gauge("audit_chain_head_age_seconds", "Since the last entry of the audit log.", age)
        free = free_bytes(self._store)
        if free is not None:
            yield _gauge("store_disk_free_bytes", "Room on the disk that packages come in on.", free)
        shares = self._metrics.shares
        if shares is not None:
            yield _gauge("uploads_in_flight", "Packages that are coming in.", shares.uploads)
            yield _gauge("uploads_waiting", "Packages that wait for their turn.", shares.waiting)
            yield _gauge("bytes_in_flight", "Bytes that they take, or said they would.", shares.bytes)
        if self._metrics.connections is not None:
            yield _gauge("connections", "Connections that are open.", self._metrics.connections())
        tls = self._metrics.tls
        if tls is not None and tls.certificate_ends_at is not None:
            left = (tls.certificate_ends_at - now).total_seconds()
            yield _gauge("cert_expiry_seconds", "Until the hub's TLS certificate ends.", left)
        if tls is not None and tls.crls_end_at is not None:
            left = (tls.crls_end_at - now).total_seconds()
            yield _gauge("client_crl_expiry_seconds", "Until a list of revoked certificates ends.", left)
        watched = () if self._metrics.watch is None else self._metrics.watch.look(now)[0]
        if watched:
            left = (watched[0].not_after - now).total_seconds()
            yield _gauge("watched_cert_expiry_seconds", "Until the first watched certificate ends.", left)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)
