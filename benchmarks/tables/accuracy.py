"""Tables of what compression costs in accuracy."""

from __future__ import annotations

import json

from benchmarks.tables.made import SETS, absent, interval, markdown, measured_by, results, share_of
from pgb_core.forecast import FILE, expected, known
from pgb_core.prices import table_of

TASKS = {"sst2": "SST-2 dev, accuracy", "qa": "SQuAD 1.1 dev, F1"}
SHAPES = {
    "cola": "CoLA, BERT",
    "sst2-distilbert": "SST-2, DistilBERT",
    "sst2-roberta": "SST-2, RoBERTa",
    "squad2": "SQuAD 2.0, BERT",
}
INT8 = ("int8", "openvino-int8")
STAGES = ("dense", "pruned", "compensated", "finetuned")
STAGE_METRICS = {"sst2": ("accuracy", 100), "qa": ("f1", 1)}  # and what makes points of it


def forms() -> str:
    """What models lose on the dev sets, in every form; a setting that is not the default is named."""
    rows = []
    for name, row in results("accuracy")["rows"].items():
        task, _, keep, seed, *rest = name.split(", ")
        dev = row["dev"]
        size = float(keep)
        other = [one.replace("prices", "`--price-weight`") for one in rest]
        made = "dense" if size == 1 else ", ".join([share_of(keep), *([seed] if seed != "seed 0" else []), *other])
        lost = dev["fp32"].get("to dense")
        cells = [interval(one) if one else "" for one in (lost, *(dev[form]["to fp32"] for form in INT8))]
        spent = ["", ""] if size == 1 else [f"{row['settings']['epochs']:g}", f"{row['minutes']:.0f}"]
        label = f"{TASKS[task]} ({dev['fp32']['rows']:,} rows)"
        rows.append((label, -size, [label, made, f"{dev['fp32']['score']:.2f}", *cells, *spent]))
    heads = [
        "task",
        "weights kept",
        "`fp32`",
        "loses to dense",
        *(f"`{form}` loses to `fp32`" for form in INT8),
        "epochs",
        "minutes",
    ]
    return markdown(heads, [cells for *_, cells in sorted(rows, key=lambda row: row[:2])])


def shapes() -> str:
    """What models of other tasks and architectures lose."""
    found = measured_by("shapes")
    if found is None:
        return absent("shapes")
    rows = []
    for name, row in found["rows"].items():
        said, points = SHAPES[name], 1 if name == "squad2" else 100
        official = row["official"]
        cells = [f"{said} ({row['rows']:,} rows)", row["metric"], f"{points * official['dense']:.1f}"]
        cells += [f"{points * official[form]:.1f}" for form in ("fp32", *INT8)]
        cells += [interval(row["forms"]["fp32"]), f"{row['minutes']:.0f}"]
        rows.append(cells)
    heads = ["model", "metric", "dense", *(f"`{form}`" for form in ("fp32", *INT8))]
    return markdown([*heads, "accuracy or F1 that `fp32` loses", "minutes"], rows)


def structures() -> str:
    """The score of every structure and seed, in fp32."""
    rows = []
    for name, row in results("structures")["rows"].items():
        task, structure, keep, *rest = name.split(", ")
        made = ["dense", ""] if float(keep) == 1 else [f"`{structure}`, {', '.join(rest)}", share_of(keep)]
        rows.append((TASKS[task], -float(keep), [TASKS[task], *made, f"{row['dev']['fp32']['score']:.2f}"]))
    return markdown(
        ["task", "structure", "weights kept", "`fp32`"], [cells for *_, cells in sorted(rows, key=lambda r: r[:2])]
    )


def nested() -> str:
    """What other structures lose to `shared`, row by row of the data."""
    rows = []
    for name, row in results("structures")["rows"].items():
        task, structure, keep, *rest = name.split(", ")
        lost = row["dev"]["fp32"].get("to shared")
        if lost and "no noise" not in rest and structure != "auto":
            rows.append([TASKS[task], f"{share_of(keep)}, {rest[0]}", f"`{structure}`", interval(lost)])
    return markdown(["task", "weights kept", "structure", "loses to `shared` in fp32 (95% interval)"], sorted(rows))


def stages() -> str:
    """What the stages of each row measured: the models between them on the rows kept out of training, and minutes."""
    rows = []
    for name, row in results("accuracy")["rows"].items():
        task, _, keep, *rest = name.split(", ")
        if float(keep) == 1 or rest != ["seed 0"]:
            continue
        metric, points = STAGE_METRICS[task]
        measured = row["measured"]
        models = measured["stage_accuracy"]
        kept = f"{measured['stages']['plan']['importance_kept']:.2f}"
        figures = [f"{points * models[model][metric]:.1f}" for model in STAGES]
        label = f"{TASKS[task].partition(' dev')[0]}, {share_of(keep)}"
        rows.append((task != "sst2", -float(keep), [label, kept, *figures, f"{measured['seconds'] / 60:.1f}"]))
    heads = ["task, weights kept", "importance kept", "dense", "pruned", "compensated", "re-finetuned", "minutes"]
    return markdown(heads, [cells for *_, cells in sorted(rows, key=lambda row: row[:2])])


def methods_sst2() -> str:
    """Every method on SST-2."""
    return _methods("sst2")


def methods_qa() -> str:
    """The methods on questions."""
    return _methods("qa")


def _methods(task: str) -> str:
    """The dev score of every point, and the time of its fastest form, the best score of each size first."""
    found = (measured_by("methods") or {}).get(task, {})
    if "times" not in found:
        return absent("methods")
    times = found["times"]
    shape = list(times["dense"]["fp32"])[-1]
    dense = min(of[shape] for of in times["dense"].values())
    rows = []
    for name, row in found["rows"].items():
        if not row["dev"]:
            rows.append((-row["keep"], 0.0, [share_of(row["keep"]), f"`{row['method']}`", "refused", "", "", "", ""]))
            continue
        scores = [f"{row['dev'][form]['score']:.2f}" for form in ("fp32", "int8")]
        form = min(times[name], key=lambda one: times[name][one][shape])
        time = times[name][form][shape]
        cells = [f"{row['kept']:.1%}", f"`{row['method']}`", *scores]
        cells += [f"`{form}`", f"{time:.2f}", f"{dense / time:.2f}x"]
        rows.append((-row["keep"], -row["dev"]["fp32"]["score"], cells))
    error = found["rows"]["dense"]["dev"]["fp32"]["error"]
    heads = ["weights kept", "method", f"`fp32` (± {error:.1f})", "`int8`", "fastest form", f"ms at {shape}"]
    return markdown([*heads, "times the fastest dense"], [cells for *_, cells in sorted(rows, key=lambda r: r[:2])])


def claims() -> str:
    """What the papers claim, and what came out."""
    found = measured_by("claims")
    if found is None:
        return absent("claims")
    rows = []
    for name, row in found["rows"].items():
        if name != "dense":
            method, structure, keep = name.split(" ")
            beside = row["beside"].partition(" ")[0]
            cells = [f"`{method}`, {structure}, {share_of(keep)}", row["said"], f"{row['score']:.2f}"]
            rows.append([*cells, f"{interval(row['to it'])}, to {beside}", "yes" if row["reproduced"] else "no"])
    dense = found["rows"]["dense"]["score"]
    heads = ["method, what goes, weights kept", "the paper", f"SST-2 dev (dense {dense:.2f})", "loses"]
    return markdown([*heads, "reproduced"], rows)


def sought() -> str:
    """What searches for a size promised, and what came out."""
    found = measured_by("sought")
    if found is None:
        return absent("sought")
    rows = []
    for name, row in found["rows"].items():
        data, _, asked = name.partition(", ")
        cells = [data, f"`--{asked}`"]
        if "refused" in row:
            why = row["refused"].removeprefix("pgb compress: ").partition(":")[0]
            rows.append([*cells, f"refused: {why}", "", "", "", f"{row['minutes']:.0f}"])
            continue
        lost = f"{row['confirmed']:+.1f} ± {row['error']:.1f} ({row['rows']:,} rows)"
        speed = f"{row['speedup']:.1f}x" if row["speedup"] else ""
        cells += [share_of(f"{row['keep']:g}"), speed, f"{row['chosen']:+.1f}", lost]
        rows.append([*cells, f"{row['minutes']:.0f}, {row['runs']}"])
    heads = ["data", "asked", "weights kept", "times the fastest dense", "loses, where it was chosen", "confirmed"]
    return markdown([*heads, "minutes, trainings"], rows)


def price_weight() -> str:
    """What plans keep and what models score by how much the prices count."""
    found = []
    for name, row in results("ideas")["rows"].items():
        asked = row["settings"]
        if name.startswith("qa, ") and (", price weight" in name or ", default" in name) and not asked.get("seed"):
            weight = table_of("int8").weight if asked["price_weight"] is None else asked["price_weight"]
            found.append((-asked["keep"], weight, row))
    return markdown(
        ["weights kept", "weight of the prices", "importance kept", "F1, `fp32`", "F1, `int8`"],
        [
            [
                share_of(str(-size)),
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
            task, idea, *_ = name.split(", ")
            label = idea if task == "qa" else f"{idea}, on SST-2"
            rows.append([label, *(f"{-c['lost']:+.1f} ({-c['to']:+.1f} to {-c['from']:+.1f})" for c in cells)])
    return markdown(["idea", *(f"points, `{form}`" for form in ("fp32", "int8"))], rows)


def forecast() -> str:
    """What is foretold, and how far it was from trained models."""
    fit, found = known(), json.loads(FILE.read_text("utf-8"))
    rows: list[list[object]] = []
    for kept in (0.9, 0.75, 0.6, 0.5, 0.4):
        one = expected(fit, kept, 100.0)
        rows.append([f"{kept:.0%}", f"{one.middle:.1f}%", f"{one.low:z.1f} to {one.high:z.1f}%"])
    head = ["importance kept", "expected loss", f"4 in 5 of {fit.rows} models of {fit.checkpoints} checkpoints"]
    row = found["mean error, leaving one row out"]
    checkpoints = found["mean error, leaving a checkpoint out"]
    rows.append(["mean error, a row left out of the fit", f"{row:.1%}", ""])
    rows += [[f"mean error, {SETS[task]} left out", f"{error:.1%}", ""] for task, error in checkpoints.items()]
    return markdown(head, rows)


def vocabulary() -> str:
    """What goes with the tokens that no text uses, and what becomes of other texts."""
    found, rows = results("vocabulary"), []
    for name, case in found["cases"].items():
        sizes, tokens, held_out = case["files"], case["tokens"], case["held out"]
        lost = f"{held_out['score_whole']:.2f} to {held_out['score_smaller']:.2f}"
        files = [f"{sizes['before'][form]:.1f} to {sizes['after'][form]:.1f} MB" for form in ("fp32", "int8")]
        others = [case["elsewhere"][place] for place in ("banking77", "MRPC")]
        shares = [f"{100 * one['other_pieces']:.0f}%, {100 * one['same_answers']:.1f}%" for one in (held_out, *others)]
        rows.append([name, f"{tokens['after']:,} of {tokens['before']:,}", *files, f"{case['texts']:,}", *shares, lost])
    heads = ["", "tokens", "`fp32`", "`int8`", "texts with the same pieces"]
    other = [f"{name}: other pieces, same answers" for name in ("held out", "banking77", "MRPC")]
    return markdown([*heads, *other, "score, held out"], rows)


def low_rank() -> str:
    """Tables of words in fewer bytes."""
    rows = [
        [name, f"{one['megabytes']:.1f} MB", f"{one['loss']:.4f}", f"{100 * one['same_answers']:.1f}%"]
        for name, one in results("vocabulary")["low rank"]["tables"].items()
    ]
    return markdown(["table of words", "size", "cross-entropy", "same answers"], rows)


def importance() -> str:
    """What plans of each structure keep, by the prices that they count, and how many maps are in groups."""
    rows = []
    for name, sizes in results("importance")["rows"].items():
        structure, prices = name.split(", ")
        kept = [f"{plan['kept']:.3f}" for plan in sizes.values()]
        groups = [f"{plan['grouped']} of {plan['maps']}" for plan in sizes.values()]
        rows.append(
            [f"`{structure}`", prices.replace("int8", "`int8`").replace("fp32", "`fp32`"), *kept, ", ".join(groups)]
        )
    return markdown(["structure", "prices", "50%", "25%", "12%", "maps in several groups"], rows)


def orders() -> str:
    """What plans of `nested` keep by the order of the stream, without prices and with those of int8."""
    rows = []
    for name, prices in results("importance")["orders"].items():
        kept = [f"{kept:.3f}" for price in ("none", "int8") for kept in prices[price].values()]
        rows.append([name, *kept])
    heads = [f"{size}, {price}" for price in ("no prices", "`int8`") for size in ("50%", "25%", "12%")]
    return markdown(["order by", *heads], rows)
