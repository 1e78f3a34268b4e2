"""Write docs/benchmarks.md, and the tables of docs/gates.md, from benchmarks/results: no figure is typed by hand.

    python benchmarks/write_page.py

Every file of results has a section here; one without is refused, so that nothing measured is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
GATES = HERE.parent / "docs" / "gates.md"

HEAD = """# Benchmarks

<!-- written by benchmarks/write_page.py from benchmarks/results -->

Measured on two cores of a shared machine; seconds vary by some tens of per cent between runs, ratios are of one run.
All sections are of the code as it is, or of code that differs from it by no number of theirs, measured while the
processors were slow in turns, by up to a half and at times threefold.
Compare ratios of a section, not seconds of different ones.
Peers run in an environment of their own, as each script says; where one failed or was cut off, that is what the table
shows. microcosm's `calibrate` package is not published on the package index and could not be run again.
`us_national_small` is bundled; `us_state_soi_medium` (2,268 targets x 40,000 records, 1.2 M non-zeros) and
`us_state_soi_large` (18,976 x 280,005, 10.9 M non-zeros) are US states' income statistics with Census records.
The loss is the mean |relative error|.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column to the left, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def seconds(value: float) -> str:
    """Three digits, with the unit that suits."""
    if value < 0.1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def where(found: dict[str, Any]) -> str:
    """Versions and machine of a result, where it has them."""
    parts = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
    parts += [f"Python {found['python']}"] if "python" in found else []
    parts += [found["machine"]] if isinstance(found.get("machine"), str) else []
    return f"({', '.join(parts)})" if parts else ""


def dense(found: dict[str, Any]) -> str:
    """Time to a dense fit beside linear-programming solvers."""
    bound = "no bound" if found["bound"] is None else f"ratios up to {found['bound']:g}"
    rows = []
    for name, run in found["runs"].items():
        if "failed" in run:
            rows.append((name, run["failed"], "-", "-"))
            continue
        gap = "-" if run.get("gap") is None else f"{100 * run['gap']:.2f} %"
        rows.append((name, seconds(run["seconds"]), f"{run['loss']:.6f}", gap))
    title = f"**{found['problem']}, {bound}**"
    shown = f"{title} {where(found)}\n\n" + table(("solver", "time", "loss", "certified gap"), rows)
    return f"{shown}\n\n{table(('times our faster one', 'one thread', 'two threads'), beside_ours(found['ratios']))}"


def beside_ours(ratios: dict[str, float]) -> list[tuple[str, str, str]]:
    """For each peer and each of our gaps: its time over that of our faster solver, on one thread and on two."""
    names = {name.rpartition(" on ")[0]: None for name in ratios}
    return [
        (
            f"{name.replace(' to ours at ', ' / ours to a gap of ')}",
            *(f"{ratios[f'{name} on {k}']:.1f}" for k in (1, 2)),
        )
        for name in names
    ]


def gate_step(found: dict[str, Any]) -> str:
    """One training step of the gates beside l0-python's epoch."""
    rows = [
        ("ours, stochastic gates", seconds(found["stochastic gates, seconds"])),
        ("ours, median gates", seconds(found["median gates, seconds"])),
        (f"l0-python {found['l0-python version']}", seconds(found["l0-python, seconds"])),
        ("times faster", f"{found['times faster']:.1f}"),
    ]
    return f"**{found['problem']}** {where(found)}\n\n" + table(("step", "time"), rows)


def gpu_iteration(found: dict[str, Any]) -> str:
    """An iteration on a GPU and on cores."""
    rows = [
        (f"{found['threads']} cores", seconds(found["seconds_on_cores"])),
        (found["device"], seconds(found["seconds_on_device"])),
        ("times faster", f"{found['times_faster']:.1f}"),
    ]
    return f"**{found['problem']}**, {found['non_zeros']:,} non-zeros {where(found)}\n\n" + table(("on", "time"), rows)


def selectors(found: dict[str, Any]) -> str:
    """Trained gates, the engine and chance at the same counts."""
    rows = [
        (
            f"{run['keep']:,}",
            run["selector"],
            f"{run['loss']:.4f}",
            f"{run['objective']:.4f}",
            f"{run['ess']:,.0f}",
            f"{run['max_ratio']:.1f}",
            seconds(run["select_seconds"] + run["refit_seconds"]),
        )
        for run in found["rows"]
    ]
    head = ("K", "selector", "loss", "objective", "ESS", "largest ratio", "time")
    return f"**{found['problem']}** {where(found)}\n\n" + table(head, rows)


def pytest_benchmark(found: dict[str, Any]) -> str:
    """Medians of a pytest-benchmark run."""
    rows = [
        (run["name"].removeprefix("test_"), seconds(run["stats"]["median"]), run["stats"]["rounds"])
        for run in found["benchmarks"]
    ]
    return table(("what", "median", "rounds"), rows)


def support_recovery(found: dict[str, Any]) -> str:
    """Share of runs that found the true support."""
    rows = [
        (
            ", ".join(f"{name} {value:g}" for name, value in run["setting"].items()),
            run["by"],
            f"{100 * run['exact']:.0f} %",
            f"{100 * run['found']:.1f} %",
            seconds(run["seconds"]),
        )
        for run in found["results"]
    ]
    head = ("setting", "by", "support exact", "features found", "time")
    return f"{found['runs']} runs each {where(found)}\n\n" + table(head, rows)


def growth(found: dict[str, Any]) -> str:
    """Time and memory against non-zeros, with the exponents."""
    rows = [
        (
            run["run"],
            f"{run['targets']:,} x {run['records']:,}",
            f"{run['nonzeros'] / 1e6:.1f} M",
            seconds(run["seconds"]),
            f"{run['peak_beyond_interpreter'] / 1e6:,.0f} MB",
            f"{run['peak_beyond_interpreter'] / run['matrix_bytes']:.1f}",
            "-" if run["gap"] is None else f"{100 * run['gap']:.2f} %",
        )
        for run in sorted(found["results"], key=lambda run: (run["run"], run["nonzeros"]))
    ]
    head = ("run", "targets x records", "non-zeros", "time", "peak memory", "x matrix", "gap")
    slopes = [(name, f"{e['time']:.2f}", f"{e['memory']:.2f}") for name, e in found["exponents"].items()]
    threads = "one thread" if found["threads"] == 1 else f"{found['threads']} threads"
    text = f"**On {threads}** {where(found)}\n\n{table(head, rows)}"
    if not slopes:
        return text
    said = "Exponents of non-zeros (least squares on logarithms):"
    return f"{text}\n\n{said}\n\n{table(('run', 'time', 'memory'), slopes)}"


def l0_python(found: dict[str, Any]) -> str:
    """The faces beside the originals."""
    rows = []
    for what, sides in found["sparse_calibration_weights"].items():
        name = f"`SparseCalibrationWeights.fit`, {what.replace('_', ' ')}, an epoch"
        ours, theirs = sides["ours"], sides["l0_python"]
        rows.append((name, seconds(theirs["seconds"]), seconds(ours["seconds"]), f"{sides['times_faster']:.1f}", "-"))
    dense_runs = found["calibration_dense"]
    theirs = dense_runs["microcalibrate"]
    for key, name in (("ours", "dense frame"), ("ours_sparse_frame", "sparse frame")):
        run = dense_runs[key]
        memory = f"{theirs['peak_mb']:,.0f} / {run['peak_mb']:,.0f} MB, beyond the caller's own frame "
        memory += f"{theirs['beyond_the_frame_mb']:,.0f} / {run['beyond_the_frame_mb']:,.0f} MB"
        times = (seconds(theirs["seconds"]), seconds(run["seconds"]), f"{run['times_faster']:.1f}")
        rows.append((f"`Calibration.calibrate()`, dense, {name}", *times, memory))
    head = ("call", "original", "ours", "times faster", "peak memory, original / ours")
    headline = f"**{found['problem']}**, {found['epochs']} epochs {where(found)}"
    return f"{headline}\n\n{table(head, rows)}\n\n{agreement(found)}"


def agreement(found: dict[str, Any]) -> str:
    """That the faces find what the originals find."""
    gap = found["sparse_calibration_weights"]["without_gates"]["largest_difference_of_log_weights"]
    noisy = found["distribution_with_gates"]
    parts = []
    for what, form in (("kept", "{:,.0f}"), ("loss", "{:.4f}")):
        sides = [noisy[what][side] for side in ("ours", "l0_python")]
        ours, theirs = (f"{form.format(side['mean'])} (sd {form.format(side['sd'])})" for side in sides)
        parts.append(f"{what} {ours} here and {theirs} there")
    spread, expected = noisy["log_alpha"], noisy["expected_of_records"]
    return (
        f"Without gates log-weights differ by {gap:.0e} at most after all epochs. With gates, over {noisy['seeds']} "
        f"seeds: {'; '.join(parts)}. Record by record, means of `log_alpha` differ by standardised amounts whose "
        f"standard deviation is {spread['sd']:.2f} where Student's law has {expected['sd']:.2f}; "
        f"{spread['beyond_3']:.2%} of them are beyond 3 where it has {expected['beyond_3']:.2%}."
    )


def exact_budgets(found: dict[str, Any]) -> str:
    """What exact budgets reach, beside what they must."""
    rows = []
    for run in found["results"]:
        reach = run["reach"]
        wanted = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in reach.items()) or "-"
        gap = f"{100 * run['gap_to_dense']:.2f} %" if "gap_to_dense" in run else "-"
        numbers = (f"{run['loss']:.5f}", f"{run['ess']:,.0f}", f"{run['max_ratio']:.2f}", seconds(run["seconds"]))
        rows.append((run["case"], *numbers, f"{run['peak_gb']:.2f} GB", gap, wanted, "yes" if run["reached"] else "no"))
    head = ("case", "loss", "ESS", "largest ratio", "time", "peak memory", "gap to dense", "to reach", "reached")
    return f"{where(found)}\n\n{table(head, rows)}"


def exact_budget_l0_python(found: dict[str, Any]) -> str:
    """An exact count beside a search for lambda."""
    ours, theirs = found["ours"], found["l0_python"]
    runs = theirs["runs"]
    rows = [
        ("l0-calibrate", f"{ours['kept']:,}", f"{ours['loss']:.4f}", f"{ours['ess']:,.0f}", seconds(ours["seconds"])),
    ]
    for name, run in ((f"l0-python, {len(runs)} lambdas", theirs["gated"]), ("... and its refit", theirs["refit"])):
        rows.append((name, f"{run['kept']:,}", f"{run['loss']:.4f}", f"{run['ess']:,.0f}", seconds(theirs["seconds"])))
    ratios = found["ratios"]
    said = f"Loss {ratios['loss']:.2f} times, effective sample size {ratios['ess']:.1f} times, "
    said += f"{ratios['times_faster']:.0f} times faster."
    head = ("by", "kept", "loss", "ESS", "time")
    return f"**{found['problem']}** {where(found)}\n\n{table(head, rows)}\n\n{said}"


_TRIPLE = (("loss", ".5f"), ("ess", ",.0f"), ("max_ratio", ".2f"))


def frontier_cost(found: dict[str, Any]) -> str:
    """A path of budgets beside each budget on its own."""
    rows = []
    for one, own in zip(found["path"], found["alone"], strict=True):
        pairs = [f"{one[name]:{form}} / {own[name]:{form}}" for name, form in _TRIPLE]
        rows.append((f"{one['keep']:,}", *pairs, f"{seconds(one['seconds'])} / {seconds(own['seconds'])}"))
    head = ("records", "loss, path / alone", "ESS", "largest ratio", "time")
    what = f"**{found['problem']}**, {found['targets']:,} targets and {found['records']:,} records"
    return (
        f"{what} {where(found)}\n\n{table(head, rows)}\n\nThe path took "
        f"{seconds(found['path_seconds'])}, {found['path_to_largest']:.2f} times its largest budget alone "
        f"({seconds(found['largest_alone_seconds'])}); each budget alone {seconds(found['each_alone_seconds'])} in all."
    )


def threads(found: dict[str, Any]) -> str:
    """Threads and memory of a dense fit."""
    rows = [
        (
            f"{run['threads']}",
            seconds(run["seconds_to_load"]),
            seconds(run["seconds"]),
            f"{100 * run['gap']:.2f} %",
            f"{run['memory_per_matrix']:.1f}",
        )
        for run in found["runs"]
    ]
    head = ("threads", "loading", "fit", "gap", "peak memory x matrix")
    fastest = {n: min(run["seconds"] for run in found["runs"] if run["threads"] == n) for n in (1, 2)}
    beside, least = found["times_slower_side_by_side"], min(found["side_by_side"]) / fastest[1]
    faster = (
        f"{found['times_faster']:.2f} times faster with two threads by medians, {fastest[1] / fastest[2]:.2f} times by "
        f"the fastest runs. Two runs on one thread each, side by side, took {beside:.2f} times as long as alone by "
        f"medians, {least:.2f} times by the fastest."
    )
    return f"**{found['problem']}, {found['solver']}** {where(found)}\n\n{table(head, rows)}\n\n{faster}"


def smooth_losses(found: dict[str, Any]) -> str:
    """Each solver on the losses without a corner."""
    runs: dict[tuple[str, str, float], dict[str, Any]] = {}
    for run in found["results"]:
        runs.setdefault((run["problem"], run["loss"], run["tolerance"]), {})[run["solver"]] = run
    solvers = list(dict.fromkeys(run["solver"] for run in found["results"]))
    rows = []
    for (problem, loss, tolerance), by in runs.items():
        times = []
        for solver in solvers:
            run = by[solver]
            shown = seconds(run["seconds"])
            if run["status"] != "optimal":
                reached = "no bound" if run["gap"] is None else f"{100 * run['gap']:.2f} %"
                shown = f"{reached} after {shown}"
            times.append(shown)
        rows.append((problem, loss, f"{100 * tolerance:g} %", *times))
    head = ("problem", "loss", "gap", *(solver.replace("_", " ") for solver in solvers))
    return f"ratios up to {found['bound']:g} {where(found)}\n\n{table(head, rows)}"


def contradictions(found: dict[str, Any]) -> str:
    """What there is that contradicts, and the time and memory of looking."""
    rows = []
    for name, run in found["runs"].items():
        kinds = run["contradictions"]
        rows.append(
            (
                name,
                f"{run['relations']:,}",
                *(f"{kinds.get(kind, 0):,}" for kind in ("sum", "copy", "excess", "few")),
                f"{run['slight']:,}",
                f"{run['loss_at_least']:.2g}",
                f"{run['unfinished']:,}",
                seconds(run["seconds"]),
                f"{run['memory_over_matrix']:.1f}",
            )
        )
    head = (
        "problem", "sums and copies", "sums that disagree", "copies that do", "excesses", "on few records", "slight",
        "loss at least", "cut short", "time", "memory x matrix",
    )  # fmt: skip
    return f"{where(found)}\n\n{table(head, rows)}"


def survey(found: dict[str, Any]) -> str:
    """Classical calibration beside samplics."""
    rows = []
    for run in found["results"]:
        name = (f"{run['records']:,} x {run['constraints']}", run["method"], run["by"])
        if "failed" in run:
            rows.append((*name, run["failed"], "-", "-", "-"))
            continue
        apart = f"{run['apart']:.0e}" if "apart" in run else "-"
        times = f"{run['times_ours']:.1f}" if "times_ours" in run else "-"
        rows.append((*name, seconds(run["seconds"]), f"{run['missed']:.0e}", apart, times))
    head = ("records x totals", "method", "by", "time", "totals missed by", "weights apart", "times ours")
    return f"samplics {found['samplics']} {where(found)}\n\n{table(head, rows)}"


SECTIONS: list[tuple[str, str, dict[str, Callable[[dict[str, Any]], str]]]] = [
    (
        "Dense fits beside linear-programming solvers",
        "`compare_dense_solvers.py`: the same linear programme for each. Ours stop at a certified gap of 1 % or 0.1 % "
        "(the number in the name, the one after it counts threads), PDLP at a relative gap of 1 %, HiGHS and Clarabel "
        "at a tolerance of 1e-3.",
        {
            "dense_solvers_medium.json": dense,
            "dense_solvers_medium_bound10.json": dense,
            "dense_solvers_large.json": dense,
            "dense_solvers_large_bound10.json": dense,
        },
    ),
    (
        "The squared and Huber's loss",
        "`compare_smooth_losses.py`: dense fits to a certified gap by each of our solvers, one thread.",
        {"smooth_losses.json": smooth_losses},
    ),
    (
        "Exact budgets",
        "`exact_budgets.py`: each case is one call on two threads in a process of its own. The generated case is the "
        "largest published one (about 36,600 targets, 337,704 records, 37 M non-zeros, 57,240 kept in 49 minutes).",
        {"exact_budgets.json": exact_budgets, "largest_case.json": exact_budgets},
    ),
    (
        "An exact budget beside l0-python's search",
        "`compare_exact_budgets.py`: lambda is searched until the count is within 5 %, then its weights are refitted; "
        "one thread for both.",
        {"exact_budget_l0_python.json": exact_budget_l0_python},
    ),
    (
        "A path of budgets",
        "`frontier_cost.py`: nested selections, each begun where the one before ended, one thread; the path and its "
        "largest budget are medians of runs in turns. Last, a nested problem of `generate_nested.py`.",
        {
            "frontier_cost.json": frontier_cost,
            "frontier_cost_fewer.json": frontier_cost,
            "frontier_cost_large.json": frontier_cost,
            "frontier_cost_generated.json": frontier_cost,
            "frontier_cost_generated_fewer.json": frontier_cost,
        },
    ),
    (
        "Totals that contradict each other",
        "`contradicting_totals.py`: what `l0-calibrate check` finds from the matrix alone, one thread. Slight ones "
        "force an error below 0.1 %; those on few records may hold by chance of the sample; the loss is the mean "
        "|relative error| that no weights can go below; cut short is the number of targets at which the search ended "
        "early. Memory is at its peak, beside the problem. Measured while the machine was busy "
        "with other work.",
        {"contradicting_totals.json": contradictions},
    ),
    (
        "Classical calibration beside samplics",
        "`compare_survey.py`: generated samples; four margins raked, and three of their groups fewer with the total of "
        "income for linear and logit calibration; one thread for both. Misses and differences are the largest, "
        "relative. samplics (MIT) stops raking at its tolerance, ours goes to rounding; its linear calibration makes a "
        "matrix of records by records.",
        {"survey.json": survey},
    ),
    (
        "Threads and memory",
        "`threads_and_memory.py`: a dense fit with ratios up to 10 to a certified 1 %, one and two threads in turn, "
        "and two runs on one thread each side by side, to see by how much they hinder each other; "
        "peak memory is beyond an interpreter with everything imported, as a multiple of the matrix (8 bytes a "
        "non-zero).",
        {
            "threads_primal_dual.json": threads,
            "threads_interior_point.json": threads,
            "threads_primal_dual_medium.json": threads,
            "threads_interior_point_medium.json": threads,
        },
    ),
    (
        "Growth",
        "`growth.py`: generated nested problems (nation, states, districts), a certified 1 % with ratios up to 10; "
        "peak memory is beyond an interpreter with everything imported.",
        {"growth.json": growth, "growth_two_threads.json": growth, "growth_largest.json": growth},
    ),
    (
        "One iteration",
        "`test_solver_iteration.py`: ten iterations of the primal-dual solver, with its proximal steps, averages and "
        "residuals, beside ten products with SciPy's matrix and its transpose (2,000 x 40,000, 1.2 M non-zeros). In "
        "brackets the threads and the records that are fitted.",
        {"solver_iteration.json": pytest_benchmark},
    ),
    (
        "Gates beside l0-python",
        "`compare_gate_step.py`: a step of Hard Concrete gates and log-weights beside an epoch of "
        "`SparseCalibrationWeights`, one thread.",
        {"gate_step_medium.json": gate_step, "gate_step_large.json": gate_step},
    ),
    (
        "On a GPU",
        "`gpu_iteration.py`: an iteration of the primal-dual method; `compare_gate_step.py --device cuda`: a step of "
        "Hard Concrete gates beside l0-python on the same GPU.",
        {"gpu_iteration.json": gpu_iteration, "gate_step_cuda.json": gate_step},
    ),
    (
        "Selectors",
        "`compare_selectors.py`: the same counts, ratios up to 5, the same refit; one thread, medians over three "
        "seeds. The objective is the loss and the price on unequal weights; ESS is the effective sample size.",
        {"selectors_small.json": selectors, "selectors_medium.json": selectors},
    ),
    (
        "The faces beside the originals",
        "`compare_l0_python.py`: unchanged calls.",
        {"l0_python.json": l0_python},
    ),
    (
        "Features",
        "`compare_support_recovery.py`: recovery of a known support.",
        {"support_recovery.json": support_recovery},
    ),
    (
        "Imports and loading",
        "`test_import_and_load.py`: a fresh interpreter that runs one statement; loading a problem of 1.2 M non-zeros "
        "from files, with all checks, and with the scaling that solvers need.",
        {"import_and_load.json": pytest_benchmark},
    ),
]


def page() -> str:
    """The whole page."""
    known = {name for _, _, files in SECTIONS for name in files}
    unknown = sorted(file.name for file in RESULTS.glob("*.json") if file.name not in known)
    if unknown:
        raise SystemExit(f"no section shows {', '.join(unknown)}: add one in {Path(__file__).name}")
    parts = [HEAD]
    for title, text, files in SECTIONS:
        shown = [
            show(json.loads((RESULTS / name).read_text())) for name, show in files.items() if (RESULTS / name).exists()
        ]
        if shown:
            parts.append(f"## {title}\n\n{text}\n\n" + "\n\n".join(shown) + "\n")
    return "\n".join(parts)


def gates_page() -> str:
    """docs/gates.md with the tables of the results between its marks ``<!-- NAME -->`` and ``<!-- end -->``."""

    def filled(mark: re.Match[str]) -> str:
        found = json.loads((RESULTS / f"{mark[1]}.json").read_text())
        return f"<!-- {mark[1]} -->\n{selectors(found)}\n<!-- end -->"

    text = GATES.read_text(encoding="utf-8")
    return re.sub(r"<!-- (selectors_\w+) -->\n.*?<!-- end -->", filled, text, flags=re.DOTALL)


if __name__ == "__main__":
    GATES.write_text(gates_page(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
