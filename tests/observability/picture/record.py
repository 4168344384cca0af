"""record.py FILE: seven minutes in the life of an installation, and what each panel of the dashboard shows of them.

Real replicas, a real Redis, a real Prometheus, real calls. `draw.py` makes a picture of the file.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from places import E2E  # noqa: E402  (found above)

sys.path.append(str(E2E))

from panels import answers_of, panels  # noqa: E402
from programs import program  # noqa: E402

from fleet import Installation, Prometheus  # noqa: E402
from traffic import Pace, Traffic, tried  # noqa: E402

STEP = 3
GITHUB, GITLAB = "https://github.example", "https://gitlab.example"
"""What the two issuers stand for: in the picture they are called so."""
SETTINGS = """
[limits]
mint_per_publisher = { burst = 500, count = 500, period = "1m" }
refused_mint_per_client = { burst = 10_000, count = 10_000, period = "1m" }

[server]
max_in_flight = 64
"""


def episodes(installation: Installation, traffic: Traffic, pace: Pace) -> list[tuple[int, str, Callable[[], object]]]:
    """From which second on what happens."""
    token = traffic.long_lived()
    broken = installation.keys / "2026-broken"
    return [
        (0, "steady", lambda: None),
        (45, "a publisher is set up wrong", lambda: pace.set("misconfigured", 5, traffic.misconfigured)),
        (90, "it gives up", lambda: pace.end("misconfigured")),
        (100, "Redis is gone", installation.redis.stop),
        (180, "Redis is back, empty", installation.redis.start),
        (195, "GitHub's issuer is down", lambda: setattr(installation.github, "down", True)),
        (210, "one project's CI mints in a loop", lambda: pace.set("chatty", 40, traffic.chatty)),
        (250, "it ends", lambda: pace.end("chatty")),
        (270, "a flood of calls", lambda: pace.set("flood", 2, lambda: traffic.flood(token, 600))),
        (300, "it ends", lambda: pace.end("flood")),
        (330, "the issuer is back", lambda: setattr(installation.github, "down", False)),
        (335, "a master key's file is broken", lambda: broken.write_text("not a key")),
        (345, "somebody forges ID tokens", lambda: pace.set("forged", 6, traffic.forged)),
        (375, "they end", lambda: pace.end("forged")),
        (390, "the file is gone", broken.unlink),
        (420, "the end", lambda: None),
    ]


def steady(traffic: Traffic) -> Pace:
    token = traffic.long_lived()
    return Pace(
        publish=(3, traffic.publish),
        publish_once=(0.5, traffic.publish_once),
        gitlab=(1, traffic.publish_from_gitlab),
        user=(0.5, traffic.user),
        upload=(15, lambda: traffic.upload(token)),
        wrong_project=(0.3, traffic.wrong_project),
        wrong_audience=(0.1, traffic.wrong_audience),
        replayed=(0.2, traffic.replayed),
        leaked=(0.2, traffic.leaked),
    )


def main(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        installation = Installation(Path(folder), stack, SETTINGS)
        prometheus = Prometheus(program("prometheus"), Path(folder) / "prometheus", installation.admins, 2)
        stack.callback(prometheus.server.stop)
        traffic = Traffic(installation)
        stack.callback(traffic.close)
        assert tried(traffic.publish), "nothing can be published"
        with steady(traffic) as pace:
            time.sleep(20)
            start = time.time()
            for second, name, happens in episodes(installation, traffic, pace):
                time.sleep(max(0, start + second - time.time()))
                print(f"{second:4d} s  {name}", flush=True)
                happens()
            end = time.time()
            minted = prometheus.query("sum(rate(mintage_tokens_minted_total[20s])) > 1")
            assert minted, "the load didn't last to the end"
            shown = {
                panel["id"]: answers_of(prometheus, panel, start=start, end=end, step=STEP, interval="20s")
                for panel in panels()
            }
            names = {replica.admin: f"replica-{number}" for number, replica in enumerate(installation.replicas)}
            names |= {installation.github.url: GITHUB, installation.gitlab.url: GITLAB}
    file.write_text(json.dumps({"start": start, "end": end, "names": names, "shown": shown}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]).resolve())
