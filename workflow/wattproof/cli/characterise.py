"""Characterising the power sensors of a GPU."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from wattproof.cli.text import note, say
from wattproof.errors import WattproofError, did_you_mean

MIN_S, MAX_S = 15.0, 3600.0


def characterise(
    gpu: Annotated[
        str | None, typer.Option(help="UUID or number of the GPU; the first one, if not given")
    ] = None,
    out: Annotated[Path, typer.Option(help="sensor description to write")] = Path("sensors.json"),
    seconds: Annotated[float, typer.Option(help="how long the load plays, at least 15")] = 60.0,
    load: Annotated[
        str,
        typer.Option(
            help="auto or cuda (matrix products by torch), or a command that reads the lines "
            "'high' and 'low'; see docs/characterise.md"
        ),
    ] = "auto",
    figure: Annotated[Path | None, typer.Option(help="also draw the responses (PNG)")] = None,
    node: Annotated[str, typer.Option(help="real, or virtual (simulated, to try it out)")] = "real",
    preset: Annotated[str, typer.Option(help="preset of the virtual node")] = "laptop",
    seed: Annotated[int, typer.Option(help="of the random part of the load")] = 0,
) -> None:
    """Find update period, window, delay and averaging of a GPU's power sensors."""
    from wattproof.characterise import store

    if not MIN_S <= seconds <= MAX_S:
        raise WattproofError(
            f"Option --seconds: {seconds:g} is not between {MIN_S:g} and {MAX_S:g}."
        )
    if node not in ("real", "virtual"):
        raise WattproofError(f"Option --node: '{node}'.{did_you_mean(node, ['real', 'virtual'])}")
    if node == "virtual" and load != "auto":
        raise WattproofError(
            "Option --load: the virtual node has a load of its own; leave --load out."
        )
    store.check_file(out, node == "virtual")
    if figure is not None and not figure.absolute().parent.is_dir():
        raise WattproofError(f"Option --figure: the folder of {figure} is not there.")
    with tempfile.TemporaryDirectory(prefix="wattproof-characterise-") as folder:
        _characterise(Path(folder), gpu, out, seconds, load, figure, node, preset, seed)


def _characterise(
    folder: Path,
    gpu: str | None,
    out: Path,
    seconds: float,
    load: str,
    figure: Path | None,
    node: str,
    preset: str,
    seed: int,
) -> None:
    from wattproof.characterise import loads, measure, store, text
    from wattproof.sources import Endpoints, real_endpoints

    player: loads.Load
    place: dict[str, Any] = {"kind": node, "dir": None}
    if node == "virtual":
        from wattproof.virtual import create_node, endpoints

        spec = create_node(folder / "node", folder / "truth", preset, seed)
        place["dir"] = str(folder / "node")
        target = measure.find_gpu(Endpoints(**endpoints(folder / "node")).nvml, gpu)
        player = loads.VirtualLoad(spec.activity_path, target.slot)
    else:
        target = measure.find_gpu(real_endpoints().nvml, gpu)
        if load in ("auto", "cuda"):
            player = loads.cuda_load(target.uuid)
        else:
            player = loads.CommandLoad(shlex.split(load))
    if target.busy:
        note(
            f"{target.busy} process(es) of somebody compute on {target.uuid}; "
            "their load disturbs the measurement"
        )
    found = measure.run(target, player, seconds, place, seed, folder / "session", note)
    how = {"load": player.name, "seconds": seconds, "seed": seed, "edges": len(found.wave.t_s)}
    store.write(out, found, target, how)
    label = "SIMULATED: " if found.simulated else ""
    say(f"{label}{target.name}, {target.uuid}, driver {target.driver}")
    say(text.table(found.findings))
    say(f"wrote {out}; campaign key analysis.sensors: {out}")
    if figure is not None:
        from wattproof.characterise.figure import draw

        title = f"{label}{target.name}, {target.uuid}"
        draw(figure, found, title)
        say(f"wrote {figure}")
    if all(finding.sensor.update_s is None for finding in found.findings):
        raise typer.Exit(1)
