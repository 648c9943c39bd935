"""The command line: measure, print progress, and write all results beside this file.

python -m benchmarks.speed --cases quick
python -m benchmarks.speed --cases all --threads 1 2 --memory
python -m benchmarks.speed --only schnet --threads 2 --keep
"""

import argparse
import json
import os
import time
from pathlib import Path

from benchmarks.speed.cases import select_cases
from benchmarks.speed.compare import Row, compare, read_rows, write_rows
from benchmarks.speed.machine import measure_machine, peak_gflops
from benchmarks.speed.scaling import ScalingRow, measure_scaling, measure_search, write_scaling
from benchmarks.speed.table import format_table


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", choices=("quick", "all"), default="all", help="which cases; quick takes minutes")
    parser.add_argument("--only", help="words that a case must contain, such as 'schnet training'")
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count() or 1], help="numbers of threads")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each candidate")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for the results")
    parser.add_argument(
        "--keep", action="store_true", help="keep the rows in the folder that this run does not measure"
    )
    parser.add_argument("--memory", action="store_true", help="also measure memory, in fresh processes")
    parser.add_argument("--no-scaling", dest="scaling", action="store_false", help="leave 250 to 16,000 beads out")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and write; rows are written as they come, so that an interrupted run leaves what it has."""
    options = parse_arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    cases = select_cases(options.cases, options.only)
    start = time.monotonic()
    table, machine_file = options.output / "results.csv", options.output / "machine.json"
    measured = {(case.network.name, case.system.name, case.task, n) for case in cases for n in options.threads}
    earlier = read_rows(table) if options.keep else []
    rows = [row for row in earlier if (row.network, row.case, row.task, row.threads) not in measured]
    scaling: list[ScalingRow] = []
    machines = json.loads(machine_file.read_text()) if options.keep and machine_file.is_file() else {}
    machines |= {str(n): measure_machine(n) for n in options.threads}
    machine_file.write_text(json.dumps(machines, indent=2) + "\n")
    for n_threads in options.threads:
        peak = peak_gflops(machines[str(n_threads)])
        _say(start, f"{n_threads} thread(s): {len(cases)} cases; matrix products {peak:.0f} GFLOP/s")
        for row in compare(cases, n_threads, options.rounds, peak, with_memory=options.memory):
            _say(start, row if isinstance(row, str) else _describe(row))
            if isinstance(row, Row):
                rows.append(row)
                write_rows(rows, table)
    if options.scaling:
        networks = list(dict.fromkeys(case.network for case in cases if case.network.is_leading))
        for n_threads in options.threads:
            scaling += measure_scaling(networks, n_threads, options.rounds)
        scaling += measure_search(options.rounds)
        slopes = (f"{p.network}, {p.threads} thread(s): slope {p.slope} ± {p.slope_error}" for p in scaling)
        for text in dict.fromkeys(slopes):
            _say(start, text)
        write_scaling(scaling, options.output / "scaling.csv")
    if rows:
        from benchmarks.speed.plot import draw

        draw(rows, scaling, options.output / "speed.png")
        lines = format_table(rows, max(row.threads for row in rows))
        (options.output / "results.md").write_text("\n".join(lines) + "\n")
    _say(start, f"wrote {options.output}")


def _describe(row: Row) -> str:
    text = (
        f"{row.network} | {row.case} | {row.task} | ours {row.ours_ms} ms, {row.peer} {row.peer_ms} ms: "
        f"{row.ratio} times | {100.0 * row.gemm_fraction:.1f} % of matrix peak | "
        f"parameters {row.ours_parameters:,} and {row.peer_parameters:,}"
    )
    memory = "" if row.ours_peak_mb is None else f" | memory {row.ours_peak_mb:.0f} and {row.peer_peak_mb:.0f} MB"
    return text + memory


def _say(start: float, text: str) -> None:
    print(f"[{time.monotonic() - start:5.0f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
