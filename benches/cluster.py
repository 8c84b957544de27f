#!/usr/bin/env python3
"""A model of `mpirun -n N cld train` for more processes than were measured.

    python3 benches/cluster.py --step MILLISECONDS [--parameters P] [--parts B] [--gbit RATE] [--latency MICROSECONDS]

STEP is one step of one process, measured (`cld train`, metrics.jsonl). A rank computes ceil(B/n) of the B parts; of each finished one it sends
all others their stretch while it computes the next; then the sums go round. What a link cannot carry while the rank computes, the step waits
for. The link is full duplex, the ranks are on hosts of their own, the computation is even; neither the network's own protocol nor other
traffic is in it.
"""

import argparse


def model(n, step, parameters, parts, gbit, latency):
    """Milliseconds of a step, and the share that waits."""
    own = -(-parts // n)
    part = step / parts
    link = gbit * 1e9 / 8 / 1e3  # bytes a millisecond
    stretch = 4 * parameters / n
    # of a part (n - 1) stretches go out; the first own - 1 parts have the time of the next ones
    each = (n - 1) * (stretch / link + latency)
    ready, sent = 0.0, 0.0
    for _ in range(own):
        ready += part
        sent = max(sent, ready) + each
    # the losses, the sums, what rank 0 says
    rest = (n - 1) * (stretch / link + latency) + 4 * latency if n > 1 else 0.0
    whole = (sent if n > 1 else ready) + rest
    return whole, 1 - own * part / whole


def main():
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument("--step", type=float, required=True)
    say.add_argument("--parameters", type=float, default=1.54e6)
    say.add_argument("--parts", type=int, default=64)
    say.add_argument("--gbit", type=float, default=10)
    say.add_argument("--latency", type=float, default=25)
    a = say.parse_args()
    print("| processes | a step, ms | times one | waits |\n|--:|--:|--:|--:|")
    for n in [1, 2, 4, 8, 16, 32, 64]:
        if n <= a.parts:
            ms, waits = model(n, a.step, a.parameters, a.parts, a.gbit, a.latency / 1e3)
            print(f"| {n} | {ms:.0f} | {a.step / ms:.1f} | {100 * waits:.0f} % |")


if __name__ == "__main__":
    main()
