"""Tables of speed, of forms and of what runs them."""

from __future__ import annotations

from benchmarks.tables.made import SETS, markdown, results, share_of

SHAPES = ("1x32", "1x128", "8x128", "1x384")


def speed() -> str:
    """The pruned model in its best form against the dense model in its fastest form of each shape."""
    measured = results("encoder_speed")
    found, fastest = measured["rows"], measured["fastest dense"]
    dense = {f"dense, {form}": one for form, one in found["dense"]["forms"].items()}
    if rival := measured.get("nncf"):
        dense["dense by NNCF, openvino-int8"] = rival
    times = [dense[fastest[s]]["milliseconds"][s] for s in SHAPES]
    rows: list[list[object]] = [["dense, the fastest form", *(f"{ms:.3g} ms" for ms in times), "", ""]]
    if rival:
        ratios = [f"{rival['times the fastest dense'][s]:.2f}x" for s in SHAPES]
        rows.append(["100%, OpenVINO int8 by NNCF", *ratios, f"{rival['geometric mean']:.2f}x", ""])
    for name, row in found.items():
        best = max(row["forms"], key=lambda form: row["forms"][form]["geometric mean"])
        share = "100" if name == "dense" else f"{100 * float(name.rpartition(' ')[2]):.0f}"
        for form in row["forms"]:
            one = row["forms"][form]
            if form not in (best, "fp32", "int8") and name != "dense":
                continue
            shown = "**{:.2f}x**" if form == best and name != "dense" else "{:.2f}x"
            ratios = [shown.format(one["times the fastest dense"][s]) for s in SHAPES]
            rows.append([f"{share}%, `{form}`", *ratios, f"{one['geometric mean']:.2f}x", f"{one['megabytes']:.0f} MB"])
    heads = [s.replace("x", " x ") for s in SHAPES]
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
        lines.append([f"{'100%' if keep == 'dense' else share_of(keep)}, `{form}`", *marked])
    return markdown(["encoder weights kept, form", *(s.replace("x", " x ") for s in shapes)], lines)


def widths() -> str:
    """What training costs with batches of few widths, and with batches as wide as their longest input."""
    found, rows = results("widths"), []
    for task, data in (("sst2", "SST-2"), ("qa", "questions")):
        for name, said in (("exact", "as wide as the longest input"), ("few", "of few widths")):
            one = found[task][name]
            seconds = f"{min(one['seconds']):.1f} to {max(one['seconds']):.1f}"
            rows.append([f"{data}, {found['inputs'][task]:,} inputs", said, seconds])
            rows[-1] += [one["steps"], f"{max(one['megabytes']):,}"]
    return markdown(["training set", "batches", "seconds", "steps", "most megabytes"], rows)


def search() -> str:
    """The search for groups."""
    rows = []
    for name, found in results("search")["rows"].items():
        rows += [[name, kind, f"{row['seconds']:.1f} s", f"{row['core_seconds']:.1f} s"] for kind, row in found.items()]
    return markdown(["model", "structure", "seconds", "of one core"], rows)


def versions() -> str:
    """Both ends of the ranges."""
    ends = results("versions")["ends"]
    names = list(next(iter(ends.values()))["versions"])
    rows = [[name, *(end["versions"][name] for end in ends.values())] for name in names]
    return markdown(["", *(f"{end} end" for end in ends)], rows)


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
        rows.append([f"{SETS[task]}, {share_of(keep)}, `{form}`", *cells])
    return markdown(["rows, encoder weights kept, form", *ways.values()], rows)


def beside() -> str:
    """How fast the plan of a lower price weight is, as a multiple of the default's."""
    found = results("beside")
    forms = list(found["rows"][0]["speed"])
    rows = [
        [
            f"{row['batch']} x {row['tokens']}",
            *(
                f"{row['speed'][form]['times']:.2f}x ({row['speed'][form]['range'][0]:.2f} to "
                f"{row['speed'][form]['range'][1]:.2f})"
                for form in forms
            ),
        ]
        for row in found["rows"]
    ]
    return markdown(["batch", *(f"`{form}`" for form in forms)], rows)
