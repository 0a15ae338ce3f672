"""What a gather and a small kernel cost, in weights of a dense product over 128 tokens.

These prices stand in `pgb_core/prices/`; run this on another kind of machine to see
whether they hold there. Each graph is one operator on `[1, channels, 128]`.
"""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks import script
from pgb_core.inference.runtimes.onnx_runtime import session_options
from pgb_core.machine import facts, usable_cores
from pgb_core.measure.bench import median_milliseconds

TOKENS = 128
MORE = 16  # operators in a chain, beside the first one


def milliseconds(nodes: list[object], constants: dict[str, object], channels: int, threads: int) -> float:
    """Median time of a graph from x [1, channels, 128] to y."""
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, TOKENS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    options = session_options(threads, spinning=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": np.random.default_rng(0).standard_normal((1, channels, TOKENS)).astype(np.float32)}
    return median_milliseconds(lambda: session.run(None, feed), 0.5)


def chained(nodes: int, groups: int, rows: int, threads: int) -> float:
    """So many grouped maps one after another, each on `groups` blocks of rows x rows."""
    rng = np.random.default_rng(1)
    names = ["x", *(f"h{n}" for n in range(nodes - 1)), "y"]
    constants = {
        "w": (rng.standard_normal((groups * rows, rows, 1)) / rows**0.5).astype(np.float32),
        "b": np.zeros(groups * rows, np.float32),
    }
    maps = [
        helper.make_node("Conv", [names[n], "w", "b"], [names[n + 1]], group=groups, kernel_shape=[1])
        for n in range(nodes)
    ]
    return milliseconds(maps, constants, groups * rows, threads)


def each(groups: int, rows: int, threads: int) -> float:
    """What one more map adds to a chain."""
    return (chained(MORE + 1, groups, rows, threads) - chained(1, groups, rows, threads)) / MORE


def gathers(count: int, rows: int, threads: int) -> float:
    """So many permutations of `rows` channels one after another."""
    names = ["x", *(f"h{n}" for n in range(count - 1)), "y"]
    order = np.random.default_rng(2).permutation(rows)
    nodes = [helper.make_node("Gather", [names[n], "i"], [names[n + 1]], axis=1) for n in range(count)]
    return milliseconds(nodes, {"i": order}, rows, threads)


def main() -> None:
    """Measure and print; `--out` keeps it."""
    parser = script.parser(__doc__, "kernel_price")
    parser.add_argument("--threads", type=int, default=usable_cores())
    args = parser.parse_args()
    dense = each(1, 768, args.threads)
    per_weight = dense / 768**2
    gather = (gathers(MORE + 1, 3072, args.threads) - gathers(1, 3072, args.threads)) / MORE
    one, many = each(1, 32, args.threads), each(16, 32, args.threads)
    block = (many - one) / 15 / per_weight - 32 * 32
    result = {
        "machine": facts(),
        "threads": args.threads,
        "dense 768x768 ms": round(dense, 4),
        "gathered row, in weights": round(gather / 3072 / per_weight, 1),
        "block, in weights": round(block),
        "operator, in weights": round(one / per_weight - 32 * 32 - block),
    }
    print(json.dumps(result, indent=1))
    script.write(args.out, result)


if __name__ == "__main__":
    main()
