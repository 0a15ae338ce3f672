"""Tables of the service, of rivals, and of many machines."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import findings
from benchmarks.tables.made import absent, markdown, measured_by, results


def service() -> str:
    """The service's own figures."""
    found = results("service")
    above = [found["latency"][f"{rate} requests a second"]["above_ms"] for rate in (100, 40)]
    share = [found["saturation"][f"{mix} texts a request"]["ratio"] for mix in ("32 short", "8 short", "8 long")]
    pressed = [found["overload"][times] for times in ("x2", "x5")]
    drain, swap, start, soak = (found[name] for name in ("drain", "swap", "start", "soak"))
    wrong = swap["failed"] + swap["failed_swaps"], swap["wrong"]
    return markdown(
        ["", ""],
        [
            [
                "p50 of what the service adds to tokenising and the model; a request every 10 / 25 ms",
                " / ".join(f"{value:.1f} ms" for value in above),
            ],
            [
                "texts a second at saturation, as a share of the bare runtime's; 32 short / 8 short / 8 long a request",
                " / ".join(f"{value:.0%}" for value in share),
            ],
            [
                "a minute at 2 / 5 times capacity: goodput, of capacity",
                " / ".join(f"{row['goodput_of_saturation']:.0%}" for row in pressed),
            ],
            [
                f"p99 of what was accepted then; admission promises {found['overload']['bound_seconds']:g} s",
                " / ".join(f"{row['accepted_ms']['p(99)'] / 1e3:.2f} s" for row in pressed),
            ],
            [
                "SIGTERM at saturation",
                f"ready is 503 after {drain['ready_turned_503_after_ms']:.0f} ms, {drain['failed'] or 'nothing'} lost, "
                f"exit {drain['exit']}",
            ],
            [f"{swap['swaps']} versions switched at saturation", f"{wrong[0]} errors, {wrong[1]} mixed-up answers"],
            [
                f"{soak['seconds'] / 60:.0f} minutes at 80% load with clients that leave, switches and bad requests",
                f"{soak['accepted_ms']['count']:,} answered, {soak['failed']} failed",
            ],
            ["from start to ready, without the time to load the model", f"{start['above_load_seconds']:.1f} s"],
            ["memory at rest, above the bare runtime with the model", f"{start['above_bare_mb']} MB"],
        ],
    )


def overhead() -> str:
    """What the service takes beside a fast model, on one core."""
    rows = []
    for mix, one in results("overhead_int8")["share"].items():
        bare = sorted(one["bare_rows_per_second"])[len(one["bare_rows_per_second"]) // 2]
        share = f"{one['share']['after']:.0%}"
        rows.append([mix, f"{bare:,.0f}", share, f"{one['ms_a_request_above_bare']['after']:.2f} ms"])
    return markdown(["texts", "bare runtime, texts/s", "the service does", "a request takes more"], rows)


def load() -> str:
    """Dense and compressed under the same load."""
    sets = results("load")["sets"]
    dense = sets[0]["capacity"]

    def p99(found: dict[str, Any], share: float) -> float:
        of = "own" if found is sets[0] else "dense"
        return float(next(row["p99"] for row in found["steady"] if (row["of"], row["share"]) == (of, share)))

    rows = []
    for found in sets:
        five = next(row for row in found["overload"] if row["times"] == 5)
        rows.append(
            [
                found["name"],
                f"{found['capacity']:,.0f}" + (f" ({found['capacity'] / dense:.1f}x)" if found is not sets[0] else ""),
                *(f"{p99(found, share):.0f} ms" for share in (0.4, 0.8, 0.95)),
                f"{five['refused_share']:.0%}, {five['p99'] / 1e3:.2f} s",
            ]
        )
    offered = [f"p99 at {share * dense:.0f} texts/s" for share in (0.4, 0.8, 0.95)]
    return markdown(["", "capacity, texts/s", *offered, "5 times its capacity: refused, p99 of the rest"], rows)


def peers_better() -> str:
    """Where a rival is better than this service with the same dense model; a line each."""
    found = measured_by("peers")
    return "".join(f"- {line}\n" for line in findings.better(found)) if found else absent("peers")


def peers() -> str:
    """Rates, latencies and memory of rivals and this service."""
    found = measured_by("peers")
    return markdown(*findings.speed_rows(found)) if found else absent("peers")


def peers_faults() -> str:
    """What becomes of rivals and this service when things go wrong."""
    found = measured_by("peers")
    return markdown(*findings.fault_rows(found)) if found else absent("peers")


def peers_settings() -> str:
    """What is not as a rival has it by default."""
    rows = [
        [server, one["version"], f"`{setting}`" if "=" in setting or setting.startswith("-") else setting, why]
        for server, one in results("peers")["contenders"].items()
        if "," not in server  # what another model or form of the same server has is the same
        for setting, why in one["settings"].items()
    ]
    return markdown(["server", "version", "setting", "why"], rows)


def capacity() -> str:
    """The planner's forecasts beside what was measured."""
    found = measured_by("capacity")
    if found is None:
        return absent("capacity")
    rows = []
    for size, one in found["sizes"].items():
        both = [f"{one[f'{kind}_capacity']:,.0f}" for kind in ("forecast", "measured")]
        rows.append(
            [f"{size}, capacity, requests/s", *both, _off(*(one[f"{k}_capacity"] for k in ("forecast", "measured")))]
        )
        for share, at in one["rates"].items():
            for q in ("p50", "p99"):
                pair = [at[kind][f"{q}_ms"] for kind in ("forecast", "measured")]
                rows.append([f"{size}, {q} at {share}, ms", *(f"{ms:.1f}" for ms in pair), _off(*pair)])
    return markdown(["workers x threads", "forecast", "measured", "off by"], rows)


def _off(forecast: float, measured: float) -> str:
    return f"{forecast / measured - 1:+.0%}"


def scaling() -> str:
    """Throughput by layout, and what the laws make of it."""
    found = measured_by("scaling")
    if found is None:
        return absent("scaling")
    rows = []
    for name in ("threads of one process", "processes of one thread"):
        one = found[name]
        for law in ("amdahl", "universal"):
            if law not in one:
                continue
            fit = one[law]
            forecast = (
                f"{fit['forecast of the last']:,.0f}, {fit['off by']:+.1%}" if "off by" in fit else "too few points"
            )
            each = ", ".join(f"{n}: {x:,.0f}" for n, x in one["measured"].items())
            rows.append([name, each, law, f"{fit['serial']:.3f}", f"{fit['crosstalk']:.4f}", forecast])
    heads = ["", "requests/s by cores", "law", "serial", "crosstalk", "the last, forecast from the others"]
    return markdown(heads, rows)


def fleet() -> str:
    """The fewest replicas of each size for the fleet on paper."""
    found = measured_by("fleet")
    if found is None:
        return absent("fleet")
    rows = [
        [one["size"], "none holds it", "", "", "", ""]
        if one["replicas"] is None
        else [
            one["size"],
            f"{one['replicas']:,}",
            f"{one['cores']:,}",
            f"{one['requests_per_second_each']:,.0f}",
            f"{one['p50_ms']:.1f}, {one['p99_ms']:.1f}",
            f"{100 * one['model_busy']:.0f}%",
        ]
        for one in found["sizes"]
    ]
    heads = ["workers x threads", "replicas", "cores", "requests/s each", "p50, p99, ms", "model busy"]
    return markdown(heads, rows)


def fleet_around() -> str:
    """What grows with the fleet."""
    found = measured_by("fleet")
    if found is None:
        return absent("fleet")
    every, one, given = found["all"], found["one"], found["assumed"]
    checks = ", ".join(f"{us:g} µs with {int(n):,} keys" for n, us in one["key_check_microseconds"].items())
    rows = [
        ["replicas with spare ones", f"{every['replicas']:,} of {found['best']}", f"{given['spare']:.0%} spare"],
        ["machines", f"{every['machines']:,}", f"{given['cores_of_a_machine']} cores each"],
        [
            "network",
            f"{every['network_gbit']:g} Gbit/s",
            f"{one['request_bytes']} B asked, {one['answer_bytes']} B answered",
        ],
        ["balancers", f"{every['balancers']:,}", f"{given['requests_per_second_of_a_balancer']:,} requests/s each"],
        ["requests open at a time", f"{every['open_requests']:,}", "at p50"],
        ["a key check", checks, "of the core that reads requests"],
        [
            "log",
            f"{every['log_megabytes_a_second']:,} MB/s, {every['log_terabytes_a_day']:g} TB/day",
            f"{one['log_bytes']} B a line",
        ],
        [
            "scrapes",
            f"{every['scrape_megabytes_a_second']:g} MB/s",
            f"{one['scrape_bytes'] / 1e3:.0f} kB in {given['scrape_seconds']} s",
        ],
        [
            "roll-out one by one",
            f"{every['rollout_one_by_one_minutes']:,.0f} min",
            f"{one['ready_seconds']:.1f} s until ready",
        ],
        [
            "artifacts fetched",
            f"{every['artifact_gigabytes_in_all']:,.0f} GB, {every['artifact_seconds_from_one_link']:,} s",
            f"{one['artifact_bytes'] / 1e6:.0f} MB each, from one link of {given['link_gbit']} Gbit/s",
        ],
    ]
    return markdown(["of the whole fleet", "", "from"], [[str(cell) for cell in row] for row in rows])
