"""Tables of what goes wrong: odd input, attacks, kills."""

from __future__ import annotations

from benchmarks.tables.made import absent, interval, markdown, measured_by, results


def attacks() -> str:
    """What each costly request that broke a bound took, before the bounds and with them; a request sent alone."""
    parts = [results("attack")["costs"][part]["requests"] for part in ("before", "after")]
    rows = []
    for name, before in parts[0].items():
        after = parts[1].get(name)
        broke = before.get("cpu_s", 1e9) > 1 or before.get("memory_mb", 0) > 100 or before["silence_s"] > 0.05
        if broke and after:
            pairs = [(before.get(key, ""), after.get(key, "")) for key in ("status", "cpu_s", "memory_mb", "silence_s")]
            rows.append([name, *(f"{was} → {now}" for was, now in pairs)])
    return markdown(["request", "answer", "CPU, s", "memory, MB", "longest silence of liveness, s"], rows)


def mixtures() -> str:
    """Twelve clients with small texts beside others."""
    parts = [results("attack")["mixtures"][part]["beside"] for part in ("before", "after")]
    rows = []
    for name, before in parts[0].items():
        pairs = before, parts[1][name]
        refused = " → ".join(f"{found['refused_share']:.1%}" for found in pairs)
        rows.append([name, refused, *(" → ".join(f"{f[key]:.0f}" for f in pairs) for key in ("p50_ms", "p99_ms"))])
    return markdown(["beside them", "refused", "p50, ms", "p99, ms"], rows)


def storm() -> str:
    """Costly requests without a pause."""
    found = results("attack")["storm"]
    client, memory = found["client"], found["memory_mb_fresh_most_after"]
    return markdown(
        ["", ""],
        [
            ["costly requests, four open at a time", f"{found['attacks']:,} in {found['minutes']:g} minutes"],
            ["longest silence of liveness", f"{found['silence_s']:.2f} s"],
            ["memory fresh, at most, afterwards", " / ".join(f"{value} MB" for value in memory)],
            [
                "requests of the client that behaves, and its failures",
                f"{client['requests']:,}, {client['requests'] - client['statuses'].get('200', 0)}",
            ],
            ["its p50 / p99 / longest", " / ".join(f"{client[key]:.0f} ms" for key in ("p50_ms", "p99_ms", "max_ms"))],
        ],
    )


def differential() -> str:
    """Texts through transformers and through the artifact."""
    found = results("trust")["differential"]["found"]["variants"]
    rows = []
    for architecture in dict.fromkeys(row["architecture"] for row in found.values()):
        every = [row for row in found.values() if row["architecture"] == architecture]
        read = [row for row in every if row["refused"] is None]
        rows.append(
            [
                architecture,
                f"{len(read)} and {len(every) - len(read)}",
                f"{sum(row['texts'] for row in read):,}",
                f"{sum(row['inputs'] for row in read):,}",
                sum(row["unequal"] for row in read),
                f"{max(row['furthest'] for row in read):.0e}",
            ]
        )
    head = [
        "",
        "checkpoints read, and refused",
        "texts and pairs",
        "inputs",
        "unequal",
        "largest difference, of a logit",
    ]
    return markdown(head, rows)


def odd() -> str:
    """Odd checkpoints and odd data files."""
    found = results("trust")["odd"]["found"]
    checkpoints, files = found["checkpoints"], found["data_files"]
    rows = [
        ["checkpoints", f"{checkpoints['accepted']:,}", f"{checkpoints['refused']:,}", checkpoints.get("wrong", 0)],
        ["data files", f"{files['read']:,}", f"{files['refused']:,}", files["wrong"]],
    ]
    return markdown(["", "read right", "refused in words", "wrong"], rows)


def lost() -> str:
    """Kills and full disks."""
    found = results("trust")
    kills, disks = found["kills"]["found"], found["disks"]["found"]
    rows = [
        [f"{kills['kills']} kills of {kills['runs']} runs", kills["lost"], kills["unequal"], ""],
        [
            f"{disks['sizes']} file systems, of which {disks['failed']} were too small",
            "",
            disks["unequal"],
            disks["half_written"],
        ],
    ]
    return markdown(["", "artifacts lost", "resumed to another artifact", "something half-written"], rows)


def shared() -> str:
    """A job beside others."""
    found = results("trust")
    row = found["shared_after"]["found"]
    alone = min(row["quiet"]["seconds"], row["quiet again"]["seconds"])
    busy = row["beside six"]["seconds"]
    rows = [["a short job, beside six busy processes", f"{alone:.0f} s", f"{busy:.0f} s", f"{row['times_quiet']:.1f}"]]
    if made := measured_by("demo"):
        minutes = [made[condition]["minutes"] for condition in ("quiet", "busy")]
        rows += [
            [
                "`pgb demo`, beside two busy processes",
                *(f"{value:.1f} min" for value in minutes),
                f"{minutes[1] / minutes[0]:.1f}",
            ]
        ]
    return markdown(["", "alone", "beside others", "times"], rows)


def demo() -> str:
    """What `make demo` takes and loses."""
    found = measured_by("demo")
    if found is None:
        return absent("demo")
    said = {"quiet": "alone", "avx2": "alone, PyTorch limited to AVX2", "busy": "beside two busy processes"}
    models = {"sentiment": "classifier loses, {} opinions", "answers": "QA model loses, F1, {} questions"}
    rows = [
        [
            name,
            f"{found[condition]['minutes']:.1f}",
            *(interval(found[condition][model]["fp32"]["held out"]) for model in models),
        ]
        for condition, name in said.items()
        if condition in found
    ]
    heads = [head.format(found["quiet"][model]["fp32"]["held out"]["rows"]) for model, head in models.items()]
    return markdown(["", "minutes", *heads], rows)


def demo_elsewhere() -> str:
    """What the demo's models lose on texts that are not the demo's."""
    found = results("demo")["quiet"]
    names = {"sentiment": "SST-2 dev, accuracy", "answers": "half of SQuAD 1.1 dev, F1"}
    rows = [
        [f"{name} ({cell['rows']:,} rows)", f"{cell['dense']:.1f}", f"{cell['score']:.1f}", interval(cell)]
        for model, name in names.items()
        for file, cell in found[model]["fp32"].items()
        if file != "held out"
    ]
    return markdown(["", "dense", "half", "loses"], rows)
