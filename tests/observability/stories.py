"""What befalls an installation, and which alerts wake whom: those named and no other."""

from __future__ import annotations

from dataclasses import dataclass

from world import ABSENT, GITHUB, INDEX, RPCS, World, at_end, burst, clock, counter, gauge

DAY = 24 * 60


@dataclass(frozen=True)
class Story:
    """At its last minute exactly `fires` are firing."""

    name: str
    world: World
    fires: frozenset[str]


STORIES: list[Story] = []


def story(name: str, world: World, *fires: str) -> None:
    STORIES.append(Story(name, world, frozenset(fires)))


def refused(reason: str, *, rpc: str = "Mint", issuer: str = GITHUB) -> dict[str, str]:
    return {"rpc": rpc, "index": INDEX, "issuer": issuer, "reason": reason}


def without_answers(minutes: int, *, store_notices: bool = True) -> World:
    """Redis is gone: Mint and Revoke fail, Verify without uses goes on."""
    world = World()
    for rpc, calls in (("Mint", 60), ("Revoke", 30)):
        world.answers(rpc, "OK", counter(calls, (minutes, 0)))
        world.answers(rpc, "UNAVAILABLE", counter(0, (minutes, calls)))
    world.store("redeem", counter(60, (minutes, 0)))
    world.store("redeem", counter(0, (minutes, 60)), error="failed")
    if store_notices:
        world.set("mintage_store_up", gauge(1, (minutes, 0)))
        world.set("mintage_ready", gauge(1, (minutes, 0)))
    return world


def issuer_down(minutes: int) -> World:
    """Each replica asks it again every two minutes, in vain."""
    world = World(minutes=240)
    world.set("mintage_issuer_fetches_total", counter(0.2, (minutes, 0)))
    world.add("mintage_issuer_fetches_total", counter(0, (minutes, 0.5)), issuer=GITHUB, outcome="failed")
    world.set("mintage_issuer_keys_fetched_timestamp_seconds", clock(-60, (minutes, -60)))
    world.set("mintage_issuer_keys_fresh_until_timestamp_seconds", clock(240, (minutes, 240)))
    return world.set("mintage_issuer_keys_usable_until_timestamp_seconds", clock(3540, (minutes, 3540)))


# Nothing is wrong.
story("busy", World())
story("busy for a day", World(minutes=DAY))
story("idle", World(busy=False))
story("idle for two days, its certificate renewed", World(busy=False, minutes=2 * DAY, evaluated=60))
story("one refused job and nothing else", World(busy=False)
      .add("mintage_refusals_total", counter(0, (10, 1)), **refused("PUBLISHER_NOT_FOUND"))
      .answers("Mint", "PERMISSION_DENIED", counter(0, (10, 1))))

# Replicas.
story("nobody answers", World().drop("mintage_ready").drop("mintage_store_up").set("up", gauge(1, (3, 0))),
      "MintageDown")
story("nothing is there to be scraped", World().drop(), "MintageDown")
story("one replica gone for 4 minutes", World().set("up", gauge(1, (4, 0)), instance="a:9090"))
story("one replica gone for 7 minutes", World().set("up", gauge(1, (7, 0)), instance="a:9090"),
      "MintageReplicaDown")
story("nobody is ready, though the store is there", World().set("mintage_ready", gauge(1, (3, 0))),
      "MintageNotReady")
story("one replica is not ready for 7 minutes",
      World().set("mintage_ready", gauge(1, (7, 0)), instance="a:9090"), "MintageReplicaNotReady")
story("a rollout restarts a replica", World().set("process_start_time_seconds", gauge(1, (10, 10_000))))
story("a replica ends again and again",
      World().set("process_start_time_seconds", gauge(1, (15, 2), (10, 3), (5, 4)), instance="a:9090"),
      "MintageRestarting")
story("a panic", World().set("mintage_panics_total", gauge(0, (5, 1)), instance="a:9090"), "MintagePanicked")
story("a panic of a replica that had counted none", World().drop("mintage_panics_total")
      .add("mintage_panics_total", burst(1, 5)), "MintagePanicked")
story("a panic of yesterday", World().set("mintage_panics_total", gauge(1)))

# Answers.
story("the store gone for 6 minutes", without_answers(6),
      "MintageStoreDown", "MintageNotReady", "MintageMintFailing", "MintageErrorBudgetFast")
story("the store gone for half a minute", without_answers(1))
story("the store was gone, and is back for 4 minutes", World()
      .answers("Mint", "UNAVAILABLE", counter(0, (6, 60), (4, 0)))
      .store("redeem", counter(0, (6, 60), (4, 0)), error="failed")
      .set("mintage_store_up", gauge(1, (6, 0), (4, 1))), "MintageErrorBudgetFast")
story("one Mint in fifty fails for an hour and a half",
      World(minutes=480).answers("Mint", "UNAVAILABLE", counter(0, (90, 1.2))),
      "MintageErrorBudgetFast", "MintageErrorBudgetSlow")
story("one Mint in a hundred fails for five hours",
      World(minutes=900).answers("Mint", "INTERNAL", counter(0, (300, 0.6))),
      "MintageErrorBudgetFast", "MintageErrorBudgetSlow")
story("one Mint in four hundred fails for half a day",
      World(minutes=DAY).answers("Mint", "INTERNAL", counter(0, (DAY // 2, 0.15))),
      "MintageErrorBudgetSlow")
story("one Mint in four thousand fails",
      World(minutes=DAY).answers("Mint", "INTERNAL", counter(0.015)))
story("two of two Mints fail on a quiet day",
      World(busy=False).answers("Mint", "UNAVAILABLE", counter(0, (6, 0), (1, 1), (4, 0))))
story("many Mints are refused, which is an answer",
      World(minutes=DAY).answers("Mint", "PERMISSION_DENIED", counter(60)))
story("one Verify in ten takes long",
      World().answers("Verify", "OK", counter(600), fast=counter(600, (20, 540))), "MintageSlow")
story("one Verify in a thousand takes long",
      World().answers("Verify", "OK", counter(600), fast=counter(600, (20, 599.4))))


def without_calls(world: World, minutes: int) -> World:
    for rpc, calls in RPCS.items():
        world.answers(rpc, "OK", counter(calls, (minutes, 0)))
    return world.answers("Mint", "PERMISSION_DENIED", counter(1, (minutes, 0)))


story("no call comes any more", without_calls(World(), 25), "MintageNoCalls")
story("no call for a moment", without_calls(World(), 8))
story("a train of releases has passed",
      World(busy=False, minutes=180).answers("Mint", "OK", counter(0, (90, 60), (40, 0))))

# Load.
story("more than it can do", World().set("mintage_overload_refusals_total", counter(0, (10, 120)))
      .answers("Verify", "UNAVAILABLE", counter(0, (10, 120))), "MintageOverloaded", "MintageErrorBudgetFast")
story("a moment with more than it can do", World().set("mintage_overload_refusals_total", burst(30, 5)))
story("nearly all connections are taken", World().set("mintage_connections", gauge(8, (10, 460))),
      "MintageConnectionsNearLimit")
story("nearly all file descriptors are open", World().set("process_open_fds", gauge(8, (10, 900))),
      "MintageFileDescriptorsNearLimit")
story("a limit refuses for half an hour",
      World().add("mintage_limits_reached_total", counter(0, (30, 20)), limit="mint_per_client"),
      "MintageLimitsReached")
story("a limit refuses for a minute",
      World().add("mintage_limits_reached_total", counter(0, (5, 0), (1, 400), (4, 0)), limit="mint_per_client"))

# The store.
story("Redis is full, or has too few replicas", without_answers(6, store_notices=False),
      "MintageStoreFailing", "MintageMintFailing", "MintageErrorBudgetFast")
story("one store call in a thousand fails", World().store("redeem", counter(0, (30, 0.06)), error="failed"))
story("Redis is slow", World().store("redeem", counter(60), fast=counter(60, (20, 0)))
      .store("spend_uses", counter(60), fast=counter(60, (20, 0))), "MintageStoreSlow")
story("one replica doesn't reach the store", World()
      .set("mintage_store_up", gauge(1, (7, 0)), instance="a:9090")
      .set("mintage_ready", gauge(1, (7, 0)), instance="a:9090"), "MintageReplicaNotReady")
story("revocations aren't seen",
      World().add("mintage_verified_without_store_total", counter(0, (3, 100)), index=INDEX),
      "MintageVerifiedWithoutStore")
story("the store lost its memory",
      World().add("mintage_store_unremembered_total", burst(3, 5), operation="redeem"), "MintageMemoryLost")
story("the store lost its memory again",
      World().add("mintage_store_unremembered_total", counter(0, (5, 1)), operation="redeem"),
      "MintageMemoryLost")
story("the store lost its memory an hour ago",
      World().add("mintage_store_unremembered_total", burst(3, 60), operation="redeem"))

# Issuers.
story("an issuer is down for 12 minutes", issuer_down(12), "MintageIssuerOutOfReach")
story("an issuer is down for 45 minutes", issuer_down(45), "MintageIssuerOutOfReach", "MintageIssuerKeysEnding")
story("an issuer that nobody ever reached", World(busy=False)
      .set("mintage_issuer_keys_fetched_timestamp_seconds", gauge(0))
      .set("mintage_issuer_keys_usable_until_timestamp_seconds", gauge(0))
      .add("mintage_issuer_fetches_total", counter(0, (8, 0.5)), issuer=GITHUB, outcome="failed"),
      "MintageIssuerOutOfReach", "MintageIssuerKeysEnding")
story("one fetch in a row fails", World()
      .add("mintage_issuer_fetches_total", counter(0, (4, 0.25), (4, 0)), issuer=GITHUB, outcome="failed"))
story("an issuer that changed its claims", World(minutes=600)
      .set("mintage_tokens_minted_total", counter(60, (40, 0)))
      .add("mintage_refusals_total", counter(0, (40, 60)), **refused("ID_TOKEN_CLAIMS")),
      "MintageIssuerRefused", "MintageRefusalsJump")
story("an issuer that is refused as ever", World(minutes=600)
      .set("mintage_tokens_minted_total", gauge(0))
      .add("mintage_refusals_total", counter(1), **refused("ID_TOKEN_AUDIENCE")))

# Refusals.
story("forged ID tokens", World(minutes=600)
      .add("mintage_refusals_total", counter(0, (20, 10)), **refused("ID_TOKEN_SIGNATURE", issuer="")),
      "MintageRefusalsJump")
story("a retired master key that was still needed", World(minutes=600)
      .add("mintage_denials_total", counter(0, (20, 10)), index=INDEX, reason="TOKEN_KEY_UNKNOWN"),
      "MintageDenialsJump")
story("half as many denials again as yesterday",
      World(minutes=600).set("mintage_denials_total", counter(20, (30, 30))))
story("a few more refusals than yesterday",
      World(minutes=600).set("mintage_refusals_total", counter(20, (30, 30))))
story("a new installation, of which nobody knows what is usual",
      World().set("mintage_denials_total", counter(20)).set("mintage_refusals_total", counter(20)))
story("the web tier's token is wrong", World()
      .add("mintage_refusals_total", counter(0, (8, 20)), **refused("CALLER_UNKNOWN", issuer="")),
      "MintageCallersRefused")
story("somebody knocks twice", World()
      .add("mintage_refusals_total", burst(2, 5), **refused("CALLER_UNKNOWN", issuer="")))
story("a clock is ahead", World()
      .set("mintage_issuer_keys_fetched_timestamp_seconds", clock(90), instance="a:9090"), "MintageClockOff")
story("a clock is late", World().add("mintage_refusals_total", counter(0, (10, 2)), instance="a:9090",
      **refused("ID_TOKEN_NOT_YET_VALID")), "MintageClockOff")

# Files.
for what in ("keyring", "configuration", "certificates"):
    story(f"the newest {what} can't be read",
          World().set("mintage_reload_failed", gauge(0, (8, 1)), what=what), "MintageReloadFailed")
story("a key that reached one replica only",
      World().set("mintage_keyring_keys", gauge(2, (20, 3)), instance="a:9090"), "MintageKeyringsDiffer")
story("a key on its way", World().set("mintage_keyring_keys", gauge(2, (5, 3)), instance="a:9090"))
ENDS = "mintage_tls_certificate_not_after_timestamp_seconds"


def certified(days: int) -> World:
    return World(busy=False, minutes=days * DAY, evaluated=60)


story("a certificate of 90 days that ends in 5", certified(4).set(ENDS, at_end(5 * 86400)),
      "MintageCertificateEndsSoon")
story("a certificate that ends in 10 hours", certified(4).set(ENDS, at_end(36_000)),
      "MintageCertificateEndsSoon", "MintageCertificateEnding")
story("certificates of a day, renewed twice a day", certified(4)
      .set(ENDS, gauge(4 * 86400, (700, 4.5 * 86400))))
story("certificates of an hour that nobody renews any more", World().set(ENDS, at_end(600)),
      "MintageCertificateEnding")
story("a service without TLS", World().set(ENDS, gauge(ABSENT)))

# Records.
story("lines of the log are lost", World().set("mintage_log_lines_lost_total", gauge(0, (3, 12))),
      "MintageLogLinesLost")
story("lines of the log were lost before a replica was ever asked",
      World().drop("mintage_log_lines_lost_total").add("mintage_log_lines_lost_total", burst(7, 3)),
      "MintageLogLinesLost")
story("the collector is gone",
      World().add("mintage_otlp_export_failures_total", counter(0, (30, 1)), signal="traces"),
      "MintageTelemetryFailing")
story("the collector restarts",
      World().add("mintage_otlp_export_failures_total", counter(0, (30, 0), (2, 1), (8, 0)), signal="traces"))
