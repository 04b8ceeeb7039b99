#!/usr/bin/python3
"""What a compressed delivery costs, by the number of subscribers, here and with npm's ws: make bench-compression.

usage: compression.py [--rounds N] [--seconds N] [--connections N,N,...] [--json FILE]

One worker against one process of ws with its defaults for permessage-deflate; roostload's subscribers offer it to both, its publisher's messages
of 2 KiB come compressed. CPU is that of all processes and threads of the server, per delivery; a row is the median of the rounds. Bytes are the
worker's own figures.
"""
import argparse
import statistics

import bench
import peers

SIZE = 2048


class WsDeflate(peers.Ws):
    def command(self):
        return super().command() + ["deflate"]


def measure(make, n, args, **more):
    rate = min(200, 2000 / n)  # ws takes a second and more for 10,000
    server = make()
    try:
        options = dict(connections=n, ramp=1000, rate=rate, size=SIZE, duration=f"{max(args.seconds, round(3 / rate))}s",
                       connect_timeout="60s", **more)
        saved = None
        if isinstance(server, peers.Peer):
            r = peers.load(server, "broadcast", **options)
        else:
            r = bench.load(server, "broadcast", path="b", **options)
            metrics = dict(line.rsplit(" ", 1) for line in server.get("/metrics").splitlines() if line and line[0] != "#")
            saved = 1 - float(metrics["roost_delivery_bytes_total"]) / (float(metrics["roost_deliveries_total"]) * SIZE)
        return bench.cpu_per_message(r) * 1e6, saved
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", default="1,100,10000")
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    for n in (int(x) for x in args.connections.split(",")):
        ours, bare, theirs, saved = [], [], [], 0.0
        for _ in range(args.rounds):
            cpu, saved = measure(lambda: bench.Gateway(1), n, args, compression=True)
            ours.append(cpu)
            bare.append(measure(lambda: bench.Gateway(1), n, args)[0])
            theirs.append(measure(WsDeflate, n, args, compression=True)[0])
        row = {"subscribers": n, "ours_us": statistics.median(ours), "uncompressed_us": statistics.median(bare),
               "ws_us": statistics.median(theirs), "bytes_saved": saved}
        rows.append(row)
        print(f"{n:>6} subscribers, {SIZE} B: {row['ours_us']:8.1f} us per delivery, uncompressed {row['uncompressed_us']:8.1f} us, ws "
              f"{row['ws_us']:8.1f} us ({row['ws_us'] / row['ours_us']:.1f}x); bytes saved {saved:.0%}", flush=True)
    bench.write_json(args.json, "compression", rows, size=SIZE)


if __name__ == "__main__":
    main()
