"""Writes a small power run of MLPerf Inference: meter log, loadgen log, messages."""

from __future__ import annotations

import json

S = 10**9
T0 = 1_644_653_958  # 2022-02-12T08:19:18Z


def spl(seconds, watts, mark="s_testing", stamp="02-12-2022 08:{m:02d}:{s:02d}.048", more=""):
    lines = []
    for i, power in zip(range(seconds), watts, strict=False):
        m, s = divmod(19 * 60 + 18 + i, 60)
        lines.append(
            f"Time,{stamp.format(m=m, s=s)},Watts,{power},Volts,-1.0,Amps,-1.0,PF,-1.0,"
            f"Mark,{mark}{more}"
        )
    return "\n".join(lines) + "\n"


def power_run(folder, zone_h=0, ahead_s=0.04, watts=None, loadgen_h=0):
    """A power run: the director's clock is ahead, and both logs are in local time."""
    folder.mkdir()
    watts = watts if watts is not None else [100.0 + i for i in range(60)]
    hour = 8 + zone_h
    (folder / "spl.txt").write_text(
        spl(len(watts), watts, stamp=f"02-12-2022 {hour:02d}:" + "{m:02d}:{s:02d}.048")
    )
    server = T0 + ahead_s
    names = ("hello", "stop", "session,x,start,testing", "session,x,stop,testing")
    at = (-30.0, -20.0, -0.1, 61.0)
    for machine, move, slow in (("client", 0.0, 0.004), ("server", ahead_s, 0.0)):
        document = {
            "timezone": 28800,
            "messages": [
                {
                    "cmd": name,
                    "cmd_time": T0 + move + t + (0.0 if machine == "client" else 0.002),
                    "reply_time": T0 + move + t + (slow or 0.002),
                }
                for name, t in zip(names, at, strict=True)
            ],
            "phases": {"testing": [[server - 10, 1], [server + 70, 2]]},
        }
        (folder / f"{machine}.json").write_text(json.dumps(document))
    line = (
        ':::MLLOG {{"key": "{key}", "value": "02-12-2022 '
        + f"{8 + loadgen_h:02d}"
        + ':{t}", "time_ms": 5.2}}\n'
    )
    (folder / "mlperf_log_detail.txt").write_text(
        ':::MLLOG {"key": "loadgen_version", "value": "1", "time_ms": 5}\n'
        + line.format(key="power_begin", t="19:20.000")
        + line.format(key="power_end", t="20:00.000")
    )
    return folder
