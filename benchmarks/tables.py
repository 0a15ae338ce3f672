"""The measured tables of the documentation, written from benchmarks/results.

    python -m benchmarks.tables

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a test holds the pages against the results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import findings
from benchmarks.peers.rivals import RIVALS
from pgb_core.forecast import FILE, expected, known
from pgb_core.prices import table_of

ROOT = Path(__file__).parents[1]
SPEED_SHAPES = ("1x32", "1x128", "8x128", "1x384")
ACCURACY_TASKS = {"sst2": "SST-2 dev, accuracy", "qa": "SQuAD 1.1 dev, F1"}
STAGE_METRICS = {"sst2": ("accuracy", 100), "qa": ("f1", 1)}  # and what makes points of it
SETS = {"sst2": "SST-2 dev", "qa": "SQuAD 1.1 dev"}
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def results(name: str) -> dict[str, Any]:
    """What a benchmark wrote."""
    return dict(json.loads((ROOT / "benchmarks/results" / f"{name}.json").read_text("utf-8")))


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("|" + "".join(f" {cell} |" if cell != "" else " |" for cell in line) + "\n" for line in lines)


def speed() -> str:
    """The pruned model in its best form against the dense model in its fastest form of each shape."""
    measured = results("encoder_speed")
    found, fastest = measured["rows"], measured["fastest dense"]
    dense = {f"dense, {form}": one for form, one in found["dense"]["forms"].items()}
    if rival := measured.get("nncf"):
        dense["dense by NNCF, openvino-int8"] = rival
    times = [dense[fastest[s]]["milliseconds"][s] for s in SPEED_SHAPES]
    rows: list[list[object]] = [["dense, the fastest form", *(f"{ms:.3g} ms" for ms in times), "", ""]]
    if rival:
        ratios = [f"{rival['times the fastest dense'][s]:.2f}x" for s in SPEED_SHAPES]
        rows.append(["100 %, OpenVINO int8 by NNCF", *ratios, f"{rival['geometric mean']:.2f}x", ""])
    for name, row in found.items():
        best = max(row["forms"], key=lambda form: row["forms"][form]["geometric mean"])
        share = "100" if name == "dense" else f"{100 * float(name.rpartition(' ')[2]):.0f}"
        for form in row["forms"]:
            one = row["forms"][form]
            if form not in (best, "fp32", "int8") and name != "dense":
                continue
            shown = "**{:.2f}x**" if form == best and name != "dense" else "{:.2f}x"
            ratios = [shown.format(one["times the fastest dense"][s]) for s in SPEED_SHAPES]
            rows.append(
                [f"{share} %, `{form}`", *ratios, f"{one['geometric mean']:.2f}x", f"{one['megabytes']:.0f} MB"]
            )
    heads = [s.replace("x", " x ") for s in SPEED_SHAPES]
    return markdown(["encoder weights kept, form", *heads, "geometric mean", "file"], rows)


def gpu() -> str:
    """Milliseconds on a GPU; the fastest of each shape stands out."""
    rows = results("gpu")["speed"]["rows"]
    shapes = list(next(iter(rows.values()))["milliseconds"])
    best = {shape: min(row["milliseconds"][shape] for row in rows.values()) for shape in shapes}
    lines = []
    for name, row in rows.items():
        keep, _, form = name.partition(", ")
        cells = [f"{row['milliseconds'][s]:.2f}" for s in shapes]
        marked = [
            f"**{cell}**" if row["milliseconds"][s] == best[s] else cell for s, cell in zip(shapes, cells, strict=True)
        ]
        lines.append([f"{'100 %' if keep == 'dense' else _share(keep)}, `{form}`", *marked])
    return markdown(["encoder weights kept, form", *(s.replace("x", " x ") for s in shapes)], lines)


def forms() -> str:
    """What the forms lose on the dev sets, with the default structure."""
    return _forms(lambda structure, rest: structure == "auto" and rest == ["seed 0"])


def every_form() -> str:
    """The same of every structure and seed."""
    return _forms(lambda structure, rest: True)


def _forms(shown: Callable[[str, list[str]], bool]) -> str:
    rows = []
    for name, row in results("accuracy")["rows"].items():
        task, structure, keep, *rest = name.split(", ")
        if not shown(structure, rest):
            continue
        lost = row["dev"]["int8"]["to fp32"]
        label = f"{ACCURACY_TASKS[task]} ({row['dev']['fp32']['rows']:,} rows)"
        made = "dense" if float(keep) == 1 else f"{_share(keep)}, `{structure}`, {', '.join(rest)}"
        scores = [f"{row['dev'][form]['score']:.2f}" for form in ("fp32", "int8")]
        rows.append([label, made, *scores, f"{lost['lost']:+.2f} ({lost['from']:+.2f} to {lost['to']:+.2f})"])
    rows.sort(key=lambda line: line[0])
    return markdown(["task", "model", "fp32", "int8", "int8 loses (95 % interval)"], rows)


def evened() -> str:
    """What int8 loses since channels are evened, in either engine."""
    rows = []
    for name, row in results("accuracy_evened")["rows"].items():
        task, _, keep, *_ = name.split(", ")
        cells = [f"{row['dev']['fp32']['score']:.2f}"]
        for form in ("int8", "openvino-int8"):
            lost = row["dev"][form]["to fp32"]
            cells.append(f"{lost['lost']:+.2f} ({lost['from']:+.2f} to {lost['to']:+.2f})")
        label = f"{ACCURACY_TASKS[task]} ({row['dev']['fp32']['rows']:,} rows)"
        rows.append([label, "dense" if float(keep) == 1 else _share(keep), *cells])
    heads = ["task", "model", "fp32", "`int8` loses (95 % interval)", "`openvino-int8` loses"]
    return markdown(heads, sorted(rows))


def nested() -> str:
    """What other structures lose to `shared`, row by row of the data."""
    rows = []
    for name, row in results("accuracy")["rows"].items():
        task, structure, keep, *rest = name.split(", ")
        lost = row["dev"]["fp32"].get("to shared")
        if lost and "no noise" not in rest and structure != "auto":
            score = f"{lost['lost']:+.2f} ({lost['from']:+.2f} to {lost['to']:+.2f})"
            rows.append([ACCURACY_TASKS[task], f"{_share(keep)}, {rest[0]}", f"`{structure}`", score])
    return markdown(["task", "weights kept", "structure", "loses to `shared` in fp32 (95 % interval)"], sorted(rows))


def stages() -> str:
    """What the stages of each row measured: the models between them on the rows kept out of training, and minutes."""
    rows = []
    for name, row in results("accuracy")["rows"].items():
        task, structure, keep, *rest = name.split(", ")
        if float(keep) == 1 or rest != ["seed 0"]:
            continue
        metric, points = STAGE_METRICS[task]
        measured = row["measured"]
        whole = {"dense": measured["accuracy"]["dense"], "finetuned": measured["accuracy"]["compressed"]}
        models = measured.get("stage_accuracy", whole)
        kept = measured.get("stages", {}).get("plan", {}).get("importance_kept")
        figures = [
            f"{points * models[model][metric]:.1f}" if model in models else ""
            for model in ("dense", "pruned", "compensated", "finetuned")
        ]
        label = f"{ACCURACY_TASKS[task].partition(' dev')[0]}, {_share(keep)}, `{structure}`"
        shown = "" if kept is None else f"{kept:.2f}"
        rows.append((task != "sst2", -float(keep), [label, shown, *figures, f"{measured['seconds'] / 60:.1f}"]))
    heads = ["task, weights kept, structure", "importance kept", "dense", "pruned", "compensated", "re-finetuned"]
    return markdown([*heads, "minutes"], [cells for *_, cells in sorted(rows, key=lambda row: row[:2])])


def price_weight() -> str:
    """What plans keep and what models score by how much the prices count."""
    found = []
    for name, row in results("ideas")["rows"].items():
        asked = row["settings"]
        if (", price weight" in name or ", default" in name) and not asked.get("seed"):
            weight = table_of("int8").weight if asked["price_weight"] is None else asked["price_weight"]
            found.append((-asked["keep"], weight, row))
    return markdown(
        ["weights kept", "weight of the prices", "importance kept", "F1, `fp32`", "F1, `int8`"],
        [
            [
                _share(str(-size)),
                f"{weight:g}",
                f"{row['importance kept']:.3f}",
                *(f"{row['scores'][form]['score']:.1f}" for form in ("fp32", "int8")),
            ]
            for size, weight, row in sorted(found, key=lambda one: one[:2])
        ],
    )


def ideas() -> str:
    """What each idea for more accuracy brought, alone."""
    rows = []
    for name, row in results("ideas")["rows"].items():
        found = row["scores"]
        if ", price weight" not in name and "to the default" in found["fp32"]:
            cells = [found[form]["to the default"] for form in ("fp32", "int8")]
            rows.append(
                [name.split(", ")[1], *(f"{-c['lost']:+.1f} ({-c['to']:+.1f} to {-c['from']:+.1f})" for c in cells)]
            )
    return markdown(["idea", *(f"points of F1, `{form}`" for form in ("fp32", "int8"))], rows)


def forecast() -> str:
    """What is foretold, and how far it was from trained models."""
    fit, found = known(), json.loads(FILE.read_text("utf-8"))
    rows: list[list[object]] = []
    for kept in (0.9, 0.75, 0.6, 0.5, 0.4):
        one = expected(fit, kept, 100.0)
        rows.append([f"{kept:.0%}", f"{one.middle:.1f} %", f"{one.low:.1f} to {one.high:.1f} %"])
    head = ["importance kept", "expected loss", f"4 in 5 of {fit.rows} models of {fit.checkpoints} checkpoints"]
    row = found["mean error, leaving one row out"]
    checkpoints = found["mean error, leaving a checkpoint out"]
    rows.append(["mean error, a row left out of the fit", f"{row:.1%}", ""])
    rows += [[f"mean error, {SETS[task]} left out", f"{error:.1%}", ""] for task, error in checkpoints.items()]
    return markdown(head, rows)


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
                "p50 over HTTP above tokenising and running in process, one request at a time, every 10 / 25 ms",
                " / ".join(f"{value:.1f} ms" for value in above),
            ],
            [
                "texts a second at saturation, of what the bare runtime does: 32 short / 8 short / 8 long a request",
                " / ".join(f"{value:.0%}".replace("%", " %") for value in share),
            ],
            [
                "a minute at 2 / 5 times capacity: goodput, of capacity",
                " / ".join(f"{row['goodput_of_saturation']:.0%}".replace("%", " %") for row in pressed),
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
                f"{soak['seconds'] / 60:.0f} minutes at 80 % load with clients that leave, switches and bad requests",
                f"{soak['accepted_ms']['count']:,} answered, {soak['failed']} failed",
            ],
            ["start to ready, beside loading the model", f"{start['above_load_seconds']:.1f} s"],
            ["memory at rest, above the bare runtime with the model", f"{start['above_bare_mb']} MB"],
        ],
    )


def overhead() -> str:
    """What the service takes beside a fast model, on one core."""
    rows = []
    for mix, one in results("overhead_int8")["share"].items():
        bare = sorted(one["bare_rows_per_second"])[len(one["bare_rows_per_second"]) // 2]
        share = f"{one['share']['after']:.0%}".replace("%", " %")
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
                f"{five['refused_share']:.0%}, {five['p99'] / 1e3:.2f} s".replace("%", " %"),
            ]
        )
    offered = [f"p99 at {share * dense:.0f} texts/s" for share in (0.4, 0.8, 0.95)]
    return markdown(["", "capacity, texts/s", *offered, "5 times its capacity: refused, p99 of the rest"], rows)


def peers_better() -> str:
    """Where a rival is better than this service with the same dense model; a line each."""
    found = _measured("peers")
    return "".join(f"- {line}\n" for line in findings.better(found)) if found else _absent("peers")


def peers() -> str:
    """Rates, latencies and memory of rivals and this service."""
    found = _measured("peers")
    return markdown(*findings.speed_rows(found)) if found else _absent("peers")


def peers_faults() -> str:
    """What becomes of rivals and this service when things go wrong."""
    found = _measured("peers")
    return markdown(*findings.fault_rows(found)) if found else _absent("peers")


def peers_settings() -> str:
    """What is not as a rival has it by default."""
    rows = [
        [rival.name, rival.version, f"`{name}`" if "=" in name or name.startswith("-") else name, why]
        for rival in RIVALS.values()
        for name, why in rival.settings.items()
    ]
    return markdown(["server", "version", "setting", "why"], rows)


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
        refused = " → ".join(f"{found['refused_share']:.1%}".replace("%", " %") for found in pairs)
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
    minutes = [found[f"demo_{part}"]["found"]["minutes"] for part in ("quiet", "busy")]
    rows = [
        ["a short job, beside six busy processes", f"{alone:.0f} s", f"{busy:.0f} s", f"{row['times_quiet']:.1f}"],
        [
            "`pgb demo`, beside two busy processes",
            *(f"{value:.1f} min" for value in minutes),
            f"{minutes[1] / minutes[0]:.1f}",
        ],
    ]
    return markdown(["", "alone", "beside others", "times"], rows)


def search() -> str:
    """The search for groups."""
    rows = []
    for name, found in results("search")["rows"].items():
        rows += [[name, kind, f"{row['seconds']:.1f} s", f"{row['core_seconds']:.1f} s"] for kind, row in found.items()]
    return markdown(["model", "structure", "seconds", "of one core"], rows)


def same_answers() -> str:
    """Every way to ask an artifact against the server."""
    ways = {
        "onnxruntime": "ONNX Runtime alone",
        "openvino": "OpenVINO",
        "optimum": "Optimum's pipeline",
        "load": "`pgb_core.load`",
        "evaluate": "`pgb evaluate`",
    }
    rows = []
    for name, found in results("same_answers")["found"].items():
        task, keep, form = name.split(", ")
        cells = []
        for way in ways:
            one = found.get(way)
            far = one.get("largest_difference") if one else None
            off = "" if far is None else f", {far:.0e}" if far else ", 0"
            cells.append(f"{one['equal']} of {one['rows']}{off}" if one else "not asked")
        rows.append([f"{SETS[task]}, {_share(keep)}, `{form}`", *cells])
    return markdown(["rows, encoder weights kept, form", *ways.values()], rows)


def versions() -> str:
    """Both ends of the ranges."""
    ends = results("versions")["ends"]
    names = list(next(iter(ends.values()))["versions"])
    rows = [[name, *(end["versions"][name] for end in ends.values())] for name in names]
    return markdown(["", *(f"{end} end" for end in ends)], rows)


def vocabulary() -> str:
    """What goes with the tokens that no text uses, and what becomes of other texts."""
    found, rows = results("vocabulary"), []
    for name, case in found["cases"].items():
        sizes, tokens, held_out = case["files"], case["tokens"], case["held out"]
        lost = f"{held_out['score_whole']:.2f} to {held_out['score_smaller']:.2f}"
        files = [f"{sizes['before'][form]:.1f} to {sizes['after'][form]:.1f} MB" for form in ("fp32", "int8")]
        others = [case["elsewhere"][place] for place in ("banking77", "MRPC")]
        shares = [
            f"{100 * one['other_pieces']:.0f} %, {100 * one['same_answers']:.1f} %" for one in (held_out, *others)
        ]
        rows.append([name, f"{tokens['after']:,} of {tokens['before']:,}", *files, f"{case['texts']:,}", *shares, lost])
    heads = ["", "tokens", "`fp32`", "`int8`", "texts with the same pieces"]
    other = [f"{name}: other pieces, same answers" for name in ("held out", "banking77", "MRPC")]
    return markdown([*heads, *other, "score, held out"], rows)


def low_rank() -> str:
    """Tables of words in fewer bytes."""
    rows = [
        [name, f"{one['megabytes']:.1f} MB", f"{one['loss']:.4f}", f"{100 * one['same_answers']:.1f} %"]
        for name, one in results("vocabulary")["low rank"]["tables"].items()
    ]
    return markdown(["table of words", "size", "cross-entropy", "same answers"], rows)


def capacity() -> str:
    """The planner's forecasts beside what was measured."""
    found = _measured("capacity")
    if found is None:
        return _absent("capacity")
    rows = []
    for size, one in found["sizes"].items():
        both = [f"{one[f'{kind}_capacity']:,.0f}" for kind in ("forecast", "measured")]
        rows.append(
            [f"{size}, capacity, requests/s", *both, _off(*(one[f"{k}_capacity"] for k in ("forecast", "measured")))]
        )
        for share, at in one["rates"].items():
            for q in ("p50", "p99"):
                pair = [at[kind][f"{q}_ms"] for kind in ("forecast", "measured")]
                rows.append(
                    [f"{size}, {q} at {share}, ms".replace("%", " %"), *(f"{ms:.1f}" for ms in pair), _off(*pair)]
                )
    return markdown(["workers x threads", "forecast", "measured", "off by"], rows)


def scaling() -> str:
    """Throughput by layout, and what the laws make of it."""
    found = _measured("scaling")
    if found is None:
        return _absent("scaling")
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
            rows.append(
                [name, each, law, f"{fit['serial']:.3f}", f"{fit['crosstalk']:.4f}", forecast.replace("%", " %")]
            )
    heads = ["", "requests/s by cores", "law", "serial", "crosstalk", "the last, forecast from the others"]
    return markdown(heads, rows)


def fleet() -> str:
    """The fewest replicas of each size for the fleet on paper."""
    found = _measured("fleet")
    if found is None:
        return _absent("fleet")
    rows = [
        [one["size"], "none holds it", "", "", "", ""]
        if one["replicas"] is None
        else [
            one["size"],
            f"{one['replicas']:,}",
            f"{one['cores']:,}",
            f"{one['requests_per_second_each']:,.0f}",
            f"{one['p50_ms']:.1f}, {one['p99_ms']:.1f}",
            f"{100 * one['model_busy']:.0f} %",
        ]
        for one in found["sizes"]
    ]
    heads = ["workers x threads", "replicas", "cores", "requests/s each", "p50, p99, ms", "model busy"]
    return markdown(heads, rows)


def fleet_around() -> str:
    """What grows with the fleet."""
    found = _measured("fleet")
    if found is None:
        return _absent("fleet")
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
    return markdown(
        ["of the whole fleet", "", "from"], [[str(cell).replace("%", " %") for cell in row] for row in rows]
    )


def _measured(name: str) -> dict[str, Any] | None:
    """What a benchmark wrote, if it has run."""
    return results(name) if (ROOT / "benchmarks/results" / f"{name}.json").exists() else None


def _absent(name: str) -> str:
    return f"Not measured yet: run `python -m benchmarks.{name}`.\n"


def _off(forecast: float, measured: float) -> str:
    return f"{forecast / measured - 1:+.0%}".replace("%", " %")


TABLES: dict[str, Callable[[], str]] = {
    f.__name__: f
    for f in (
        speed,
        gpu,
        forms,
        every_form,
        evened,
        nested,
        stages,
        price_weight,
        ideas,
        forecast,
        service,
        load,
        overhead,
        peers_better,
        peers,
        peers_faults,
        peers_settings,
        attacks,
        mixtures,
        storm,
        differential,
        odd,
        lost,
        shared,
        search,
        same_answers,
        versions,
        vocabulary,
        low_rank,
        capacity,
        scaling,
        fleet,
        fleet_around,
    )
}


def filled(page: str) -> str:
    """A page with every table as the results have it now."""
    return _PLACE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", page)


def pages() -> list[Path]:
    """Those that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _share(keep: str) -> str:
    return f"{float(keep):.0%}".replace("%", " %")


def main() -> None:
    """Write every page."""
    for page in pages():
        before = page.read_text("utf-8")
        if filled(before) != before:
            page.write_text(filled(before), "utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
