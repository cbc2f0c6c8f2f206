"""How fast klayer trains, beside the other ways to train many small networks on a CPU.

``python benchmarks/speed.py [--quick | --short] [--json FILE] [--picture FILE]`` prints microseconds per
network and update as Markdown tables, on CIFAR-10's shape and on those of tables. All contestants do the
same work (see ``peers/task.py``), which is verified before anything is timed; they take turns in short
rounds, each in a process of its own, so that a change of the machine's speed meets all of them.
``docs/benchmarks.md`` says how to read the tables.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata, util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from klayer.train.engine import available_cores
from peers.picture import draw
from peers.reference import Agreement, Reference
from peers.task import ARCHITECTURES, Task, make_task
from peers.worker import Contestant, Workers

VERIFIED_UPDATES = 20
CLASSES = 10
TABLE_SHARE = 0.25  # of a turn: small networks need no longer ones
PAUSE = 0.05  # seconds before each turn: threads of the last contestant stop spinning
PACKAGES = ("klayer", "numpy", "scipy", "numba", "torch", "jax", "jaxlib", "scikit-learn")

# The short form: what a change of klayer may change, beside the best of the others.
SHORT = (
    "klayer",
    "PyTorch loop, 1 thread",
    "batches gathered",
    "scikit-learn `partial_fit`, 1 thread",
)
SHORT_ARCHITECTURES = ("3 layers, BN", *(n for n, one in ARCHITECTURES.items() if one.is_table))


def contestants(several_networks: Sequence[int], cores: int) -> list[Contestant]:
    """Who takes part, in the order of the table; populations once for each number of networks."""
    threads = sorted({1, cores})
    everyone = [
        *_populations("klayer", "klayer_population", several_networks, cores, "klayer many"),
        Contestant("klayer, 1 network", "klayer_population", 1, cores, role="klayer one"),
        *_populations(
            "klayer compiled",
            "klayer_population:Compiled",
            several_networks,
            cores,
            "compiled many",
            requires="numba",
        ),
        Contestant(
            "klayer compiled, 1 network",
            "klayer_population:Compiled",
            1,
            cores,
            requires="numba",
            role="compiled one",
        ),
        *(
            Contestant(
                f"PyTorch loop, {_count(n, 'thread')}",
                "torch_loop",
                threads=n,
                requires="torch",
                role="PyTorch loop",
            )
            for n in threads
        ),
        Contestant(
            "PyTorch loop, a process on each core",
            "torch_loop",
            processes=cores,
            requires="torch",
            role="processes",
        ),
        Contestant(
            "PyTorch `compile`, 1 thread",
            "torch_func:Compiled",
            requires="torch",
            role="PyTorch compile",
        ),
        *(
            one
            for how, peer in (
                ("`bmm`", "torch_batched"),
                ("`bmm`, first layers side by side", "torch_batched:Wide"),
                ("`vmap`", "torch_func"),
                ("`compile(vmap)`", "torch_func:Compiled"),
            )
            for one in _populations(
                f"PyTorch {how}", peer, several_networks, cores, "batched", requires="torch"
            )
        ),
        *(
            Contestant(f"JAX `jit(scan)`{how}", peer, 1, cores, requires="jax", role="JAX loop")
            for how, peer in (("", "jax_scan"), (", batches gathered before", "jax_scan:Gathered"))
        ),
        Contestant(
            "JAX `jit(scan)`, a process on each core",
            "jax_scan",
            processes=cores,
            requires="jax",
            role="processes",
        ),
        *(
            one
            for how, peer in (
                ("`vmap`", "jax_scan"),
                ("`vmap`, batches gathered before", "jax_scan:Gathered"),
                ("`lax.map`, batches gathered before", "jax_scan:Mapped"),
            )
            for one in _populations(
                f"JAX {how}", peer, several_networks, cores, "batched", requires="jax"
            )
        ),
        *(
            Contestant(
                f"scikit-learn `partial_fit`, {_count(n, 'thread')}",
                "sklearn_mlp",
                threads=n,
                batch_norm=False,
                role="scikit-learn",
            )
            for n in threads
        ),
        Contestant(
            "the first layer's two products",
            "first_layer",
            processes=cores,
            role="products",
            tables=False,
        ),
        Contestant(
            "all products of a network",
            "first_layer:All",
            processes=cores,
            role="products",
            images=False,
        ),
    ]
    return [one for one in everyone if cores > 1 or one.role != "processes"]


def _populations(
    name: str,
    peer: str,
    several_networks: Sequence[int],
    cores: int,
    role: str,
    requires: str = "klayer",
) -> list[Contestant]:
    return [
        Contestant(
            f"{name}, {networks} networks", peer, networks, cores, requires=requires, role=role
        )
        for networks in several_networks
    ]


class Contest:
    """All contestants with their tasks open, verified and calibrated; then timed round by round."""

    def __init__(self, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say
        self.cores = available_cores()
        self.verified: dict[tuple[str, str], Agreement] = {}
        self.length: dict[tuple[str, str], int] = {}
        self.times: dict[tuple[str, str], list[float]] = {}
        self.cpu: dict[tuple[str, str], list[float]] = {}
        self.workers: dict[str, Workers] = {}
        self.left_out: list[str] = []

    def run(self) -> None:
        """Verify, calibrate and time everything."""
        try:
            with tempfile.TemporaryDirectory(prefix="klayer-speed-") as folder:
                labels = self._write_labels(Path(folder))
                self._start(folder)
                for architecture in self.options.architectures:
                    X = self._write_features(Path(folder), ARCHITECTURES[architecture].features)
                    task = make_task(architecture, max(self.options.networks), len(X))
                    self._verify(architecture, task, X, labels)
            for turn in range(self.options.rounds):
                self._round(turn)
        finally:
            for workers in self.workers.values():
                workers.close()

    def entries(self) -> list[tuple[str, str]]:
        """(contestant, architecture) of all that were timed."""
        return list(self.times)

    def _write_labels(self, folder: Path) -> NDArray:
        labels = np.random.default_rng(0).integers(0, CLASSES, self.options.samples)
        np.save(folder / "labels.npy", labels)
        return labels

    def _write_features(self, folder: Path, features: int) -> NDArray:
        """Write standardised features around a centre for each class: all read the same bits."""
        path = folder / f"X-{features}.npy"
        if not path.exists():
            rng, labels = np.random.default_rng(1), np.load(folder / "labels.npy")
            X = rng.standard_normal((len(labels), features), dtype=np.float32)
            X += rng.standard_normal((CLASSES, features), dtype=np.float32)[labels] / 2
            np.save(path, (X - X.mean(axis=0)) / X.std(axis=0))
        return np.load(path)

    def _start(self, folder: str) -> None:
        cores = (
            sorted(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else list(range(self.cores))
        )
        for one in contestants(self.options.networks, self.cores):
            wanted = not self.options.only or any(
                word.lower() in one.name.lower() for word in self.options.only
            )
            if not (wanted or one.role == "products"):
                continue
            if not util.find_spec(one.requires):
                self.left_out.append(f"{one.name} ({one.requires} is not installed)")
                continue
            self.workers[one.name] = Workers(one, folder, cores)
        for workers in self.workers.values():
            workers.wait()

    def _verify(self, architecture: str, task: Task, X, labels) -> None:
        """Let everybody do the first updates (which also warms them up), then compare."""
        reference = Reference(task, X, labels, VERIFIED_UPDATES, self.options.networks)
        for name, workers in self.workers.items():
            one = workers.contestant
            if task.batch_norm != "none" and not one.batch_norm:
                continue
            if not (one.tables if ARCHITECTURES[architecture].is_table else one.images):
                continue
            workers.open(architecture, task)
            workers.train(architecture, VERIFIED_UPDATES)
            entry = (name, architecture)
            if one.role != "products":
                found = [reference.judge(weights) for weights in workers.weights(architecture)]
                worst = max(found, key=lambda agreement: agreement.movement)
                self.verified[entry] = worst
                self.say(
                    f"{architecture}: {name}: loss within {worst.loss:.0e}, "
                    f"movement of the weights within {worst.movement:.0e}"
                )
                if not all(agreement.holds() for agreement in found):
                    raise SystemExit(f"{name} does not train the same networks: nothing timed.")
            self.length[entry] = self._calibrate(workers, architecture)
            self.times[entry], self.cpu[entry] = [], []

    def _calibrate(self, workers: Workers, architecture: str) -> int:
        """Return the number of updates that fills a turn, a multiple of the stride."""
        stride = updates = workers.stride(architecture)
        turn = self.options.seconds * (TABLE_SHARE if ARCHITECTURES[architecture].is_table else 1)
        workers.train(architecture, updates)  # a whole stride may have to be compiled
        seconds, _ = workers.train(architecture, updates)
        while seconds < turn / 4:  # what a call costs apart from its updates must not count
            updates *= 2
            seconds, _ = workers.train(architecture, updates)
        return max(1, round(turn / seconds * updates / stride)) * stride

    def _round(self, turn: int) -> None:
        entries = self.entries()
        for name, architecture in entries if turn % 2 == 0 else entries[::-1]:
            updates = self.length[name, architecture]
            workers = self.workers[name]
            one = workers.contestant
            time.sleep(PAUSE)
            found = workers.train(architecture, updates)
            networks = one.networks * one.processes
            for seconds, all_of_them in zip(found, (self.times, self.cpu), strict=True):
                all_of_them[name, architecture].append(seconds / (updates * networks) * 1e6)
        self.say(f"round {turn + 1} of {self.options.rounds}")


def summarise(contest: Contest) -> dict:
    """Turn the times into plain values, ready for JSON.

    Returns
    -------
    results : dict
        ``rows``: for each contestant and architecture the median and quartiles of the microseconds
        per network and update, the ratio of the median to the products' median, and all rounds.
    """
    medians = {entry: float(np.median(times)) for entry, times in contest.times.items()}
    products = {
        architecture: medians[name, architecture]
        for name, architecture in medians
        if contest.workers[name].contestant.role == "products"
    }
    rows = []
    for (name, architecture), times in contest.times.items():
        one = contest.workers[name].contestant
        agreement = contest.verified.get((name, architecture))
        rows.append(
            {
                "contestant": name,
                "role": one.role,
                "architecture": architecture,
                "networks": one.networks,
                "threads": one.threads,
                "processes": one.processes,
                "updates_per_round": contest.length[name, architecture],
                "microseconds": medians[name, architecture],
                "quartiles": [float(q) for q in np.percentile(times, (25, 75))],
                "ratio_to_products": medians[name, architecture] / products[architecture],
                "cpu_microseconds": float(np.median(contest.cpu[name, architecture])),
                "rounds": times,
                "loss_difference": agreement and agreement.loss,
                "movement_difference": agreement and agreement.movement,
            }
        )
    return {"rows": rows, "left_out": contest.left_out}


def comparisons(rows: list[dict]) -> list[dict]:
    """Speed of klayer as a multiple of the others', from the medians of one run.

    Against a loop, the fastest thread setting counts; against batched peers, the fastest peer.
    """
    alone = ("PyTorch loop", "PyTorch compile", "JAX loop", "scikit-learn")
    all_of_them = (*alone[:2], "batched", "processes", *alone[2:])
    pairs = [
        (ours, theirs)
        for ours, others in (
            ("klayer many", all_of_them),
            ("compiled many", ("klayer many", *all_of_them)),
            ("klayer one", alone),
            ("compiled one", ("klayer one", *alone)),
        )
        for theirs in others
    ]
    found = []
    for ours, theirs in pairs:
        for us in (row for row in rows if row["role"] == ours):
            them = [
                row
                for row in rows
                if row["role"] == theirs
                and row["architecture"] == us["architecture"]
                and row["networks"] in (1, us["networks"])
            ]
            if them:
                best = min(them, key=lambda row: row["microseconds"])
                found.append(
                    {
                        "klayer": us["contestant"],
                        "networks": us["networks"],
                        "other": best["contestant"],
                        "role": theirs,
                        "architecture": us["architecture"],
                        "speed": best["microseconds"] / us["microseconds"],
                    }
                )
    return found


def markdown(results: dict) -> str:
    """Format the results as Markdown."""
    rows = results["rows"]
    architectures = list(dict.fromkeys(row["architecture"] for row in rows))
    cells = {
        (row["contestant"], row["architecture"]): "{} ({}-{}) {:.2f}x".format(
            *map(_short, (row["microseconds"], *row["quartiles"])), row["ratio_to_products"]
        )
        for row in rows
    }
    cpu = {
        (row["contestant"], row["architecture"]): _short(row["cpu_microseconds"])
        for row in rows
        if "cpu_microseconds" in row
    }
    about = results["about"]
    lines = [
        f"Microseconds per network and update: median (quartiles) of {about['rounds']} rounds, "
        "and the ratio to the first layer's two products at the machine's peak; on tables, to all "
        "products of a network.",
        "",
        *_by_contestant(cells, architectures),
        "",
        "CPU time, all threads together (the wall time of a busy machine says little):",
        "",
        *_by_contestant(cpu, architectures),
        "",
        "How many times faster klayer is (the fastest of each kind counts):",
        "",
    ]
    found = comparisons(rows)
    ratios = {
        (one["klayer"], one["role"], one["architecture"]): f"{one['speed']:.2f}" for one in found
    }
    lines += _table(
        "",
        architectures,
        {
            f"{klayer} against {TITLES[role]}": [
                ratios.get((klayer, role, architecture), "-") for architecture in architectures
            ]
            for klayer, role in dict.fromkeys((one["klayer"], one["role"]) for one in found)
        },
    )
    lines += ["", *(f"- {key}: {value}" for key, value in about.items())]
    if results["left_out"]:
        lines += [f"- left out: {', '.join(results['left_out'])}"]
    return "\n".join(lines)


TITLES = {
    "klayer many": "NumPy's backend",
    "klayer one": "NumPy's backend",
    "PyTorch loop": "the PyTorch loop",
    "PyTorch compile": "PyTorch's `compile`",
    "batched": "batched peers",
    "processes": "a process on each core",
    "JAX loop": "JAX `jit(scan)`",
    "scikit-learn": "scikit-learn",
}


def describe(options: argparse.Namespace, cores: int) -> dict:
    """Say where and how the numbers were measured."""
    blas = {
        f"{one['internal_api']} {one['version']} ({one.get('architecture', '?')})"
        for one in threadpool_info()
        if one["user_api"] == "blas"
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {_count(cores, 'core')}, {platform.system()}",
        "load average before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "Python": platform.python_version(),
        "versions": ", ".join(
            f"{name} {metadata.version(name)}" for name in PACKAGES if _installed(name)
        ),
        "NumPy's BLAS": ", ".join(sorted(blas)),
        "data": f"{options.samples:,} samples, {CLASSES} classes, float32; 3 and 9 layers: 3,072 "
        "features, batch 100; N: batch",
        "rounds": options.rounds,
        "seconds per turn": f"{options.seconds}; on tables {options.seconds * TABLE_SHARE}",
        "verified updates": VERIFIED_UPDATES,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parse(arguments)
    about = describe(options, available_cores())
    if core := os.environ.get("OPENBLAS_CORETYPE"):
        _say(
            f"warning: OPENBLAS_CORETYPE={core} chooses the products of NumPy, klayer and scikit-learn, "
            "and not those of PyTorch and JAX: without it they may be twice as fast."
        )
    if about["load average before"] and about["load average before"] > 0.5:
        _say(f"warning: this machine is busy (load average {about['load average before']}).")
    began, busy = time.monotonic(), _busy_seconds()
    contest = Contest(options, _say)
    contest.run()
    wall = time.monotonic() - began
    about["wall time"] = f"{wall:.0f} s"
    if busy is not None:
        share = max(0.0, (_busy_seconds() - busy) / (wall * available_cores()))
        about["other processes"] = f"used {share:.0%} of the cores meanwhile"
        if share > 0.05:
            _say(f"warning: other processes {about['other processes']}: measure again at rest.")
    results = {"about": about, **summarise(contest)}
    print(markdown(results))
    if options.json:
        results["comparisons"] = comparisons(results["rows"])
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.picture:
        draw(results["rows"], options.picture)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="short turns; rough")
    parser.add_argument("--short", action="store_true", help="two minutes; few contestants; rough")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there")
    parser.add_argument("--rounds", type=int, help="turns of each contestant (7)")
    parser.add_argument("--seconds", type=float, help="length of a turn (1)")
    parser.add_argument(
        "--networks", type=int, nargs="+", default=[30], help="networks trained at once (30)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the medians there (SVG)")
    parser.add_argument("--samples", type=int, help="training samples (20,000)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="contestants with such a word")
    parser.add_argument("--architectures", nargs="+", choices=list(ARCHITECTURES), metavar="NAME")
    options = parser.parse_args(arguments)
    if options.short:
        options.only = options.only or SHORT
        options.architectures = options.architectures or SHORT_ARCHITECTURES
    options.architectures = options.architectures or list(ARCHITECTURES)
    rough = options.quick or options.short
    usual = {"rounds": 3, "seconds": 0.2, "samples": 5000} if rough else {}
    for name, value in {"rounds": 7, "seconds": 1.0, "samples": 20_000, **usual}.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    for name in ("rounds", "seconds"):
        if getattr(options, name) <= 0:
            parser.error(f"`{name}` must be > 0, but got {getattr(options, name)}.")
    if min(options.networks) < 2:
        parser.error(f"`networks` must be >= 2, but got {min(options.networks)}.")
    return options


def _table(corner: str, head: list[str], rows: dict[str, list[str]]) -> list[str]:
    return [
        f"| {' | '.join([corner, *head])} |",
        f"|---|{'---:|' * len(head)}",
        *(f"| {' | '.join([name, *cells])} |" for name, cells in rows.items()),
    ]


def _by_contestant(cells: dict, architectures: list[str]) -> list[str]:
    names = dict.fromkeys(name for name, _ in cells)
    rows = {
        name: [cells.get((name, architecture), "-") for architecture in architectures]
        for name in names
    }
    return _table("", architectures, rows)


def _short(microseconds: float) -> str:
    """Write a number with three digits that count, at the most one of them a fraction."""
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.1f}"


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _busy_seconds() -> float | None:
    """Seconds that others have kept our cores busy so far; None where the system doesn't say."""
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    ticks = sum(int(n) for name, *counts in lines if name in ours for n in counts[:3])
    # Our own time, with that of our processes that have ended.
    return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return next(line for line in text.splitlines() if "model name" in line).split(": ", 1)[1]
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
