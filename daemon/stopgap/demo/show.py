"""Show: `stopgap demo`. The hotel's booking system breaks, and the terminal shows what Stopgap does about it, and takes back."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from stopgap.demo.daemon import Daemon
from stopgap.demo.lab import Lab
from stopgap.demo.pager import Pager
from stopgap.demo.stage import Stage, Tone
from stopgap.demo.supervised import LabError
from stopgap.demo.witness import Sight, StoryError, Witness

_SEEN_HELD = 5.0  # seconds for which it is watched that nothing is taken back
_INTERRUPTED = 130  # what a shell says of Ctrl-C


def run(*, once: bool, keep: Path | None = None, out: TextIO | None = None) -> int:
    """Play the demo; returns the exit code: 0 only if all went back. All stays in `keep`; without it nothing does."""
    if keep is not None and keep.exists() and any(keep.iterdir()):
        sys.stderr.write(
            f"stopgap: {keep} is not empty: name a directory that is, or that is not there yet\n"
        )
        return 2
    directory = (keep or Path(tempfile.mkdtemp(prefix="stopgap-demo-"))).resolve()
    stage = Stage(out or sys.stdout)
    try:
        return asyncio.run(_bounded(stage, directory, once=once))
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


async def _bounded(stage: Stage, directory: Path, *, once: bool) -> int:
    """Play until the end or the first Ctrl-C; what is started is stopped, and that is not interrupted by a second one."""
    task = asyncio.ensure_future(_play(stage, directory, once=once))
    with _first_signal(task.cancel):
        try:
            return await task
        except asyncio.CancelledError:
            stage.line("\nInterrupted; all is stopped.")
            return _INTERRUPTED
        except LabError as error:
            stage.line(f"\nThis did not work: {error}", Tone.BAD)
            return 1


@contextmanager
def _first_signal(call: Callable[[], object]) -> Iterator[None]:
    """Call at the first Ctrl-C, SIGTERM or hang-up; swallow every further one while inside."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def first() -> None:
        for number in numbers:
            loop.add_signal_handler(number, lambda: None)
        call()

    for number in numbers:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _play(stage: Stage, directory: Path, *, once: bool) -> int:
    """Set up, tell the story, stay up if wanted; whatever happens, take down in reverse."""
    lab = Lab(directory / "lab")
    _introduce(stage, lab, directory)
    async with AsyncExitStack() as stack:
        pager = Pager()
        await stack.enter_async_context(pager.listening())
        await stack.enter_async_context(lab)
        daemon = Daemon(lab, directory / "data", environment=pager.environment())
        await stack.enter_async_context(daemon)
        stage.names |= {
            f"env:{lab.env_path}": "hotel.env",
            f"supervisor:{lab.supervisor_socket}#": "program ",
        }
        stage.names |= {lab.url(name): name for name in ("hotel", "pms")}
        witness = Witness(lab, daemon, stage)
        try:
            wrong = await _story(stage, lab, witness)
        except LabError:
            stage.line(f"\nThe end of {daemon.log}:\n{daemon.tail()}", Tone.DIM)
            raise
        if not once:
            await _stay_up(stage, lab, daemon, witness)
        stage.line("\nStopping everything …", Tone.DIM)
    return 1 if wrong else 0


def _introduce(stage: Stage, lab: Lab, directory: Path) -> None:
    stage.line("Stopgap looks after a small hotel, whose booking system (PMS) will break.", Tone.TITLE)
    if not lab.real:
        stage.line("Prometheus and Alertmanager are not installed: the demo plays their part.", Tone.NEWS)
    stage.line(f"  all files   {directory}", Tone.DIM)
    stage.line(f"  its log     {directory / 'data' / 'daemon.log'}", Tone.DIM)
    stage.line("Starting hotel, PMS, database, guests, monitoring and Stopgap …", Tone.DIM)


async def _story(stage: Stage, lab: Lab, witness: Witness) -> list[str]:
    """Tell the story; returns what is not as it was before it. Raises LabError when it does not go on."""
    file, former = lab.env_bytes(), await lab.hotel_mode()
    stage.title("All is calm")
    await witness.until("a calm hotel", lambda s: s.pms == "healthy" and s.mode == "qloapps")

    stage.title("The booking system breaks")
    stage.aside("Guests read 'cannot check availability' until somebody does something.")
    await lab.break_pms()
    await witness.until("the mitigation", lambda s: s.mode == "mock" and bool(s.incident.get("mitigated_at")))
    await witness.until("the alert to resolve", lambda s: not s.notified and s.phase == "recovering")

    stage.title("The alert is resolved, and nothing is taken back")
    stage.aside(
        "Mock mode closes the circuit breaker, so the alert is silent. That is a claim: the rule's "
        "`recovered` probe asks the PMS itself, which is as dead as before. The mitigation stays."
    )
    _check_held(await witness.stay(_SEEN_HELD))
    stage.say("Stopgap", "still recovering: PMS_TYPE=mock stays", Tone.OURS)

    stage.title("The booking system comes back")
    stage.aside(f"It must stay healthy for `hold`, here {lab.vars['hold']}; then the flag goes back.")
    await lab.heal_pms()
    end = await witness.until("the way back", lambda s: s.phase == "closed" and s.pid != 0)

    wrong = differences(end.incident, (file, lab.env_bytes()), (former, await lab.hotel_mode()))
    stage.title("This is not as it was" if wrong else "All is as it was")
    for text in wrong:
        stage.line(f"        {text}", Tone.BAD)
    if not wrong:
        stage.line(f"        {end.incident['id']} is closed: recovered", Tone.GOOD)
        stage.line("        hotel.env is the same, byte for byte", Tone.GOOD)
        stage.line(f"        the hotel, now process {end.pid}, runs in mode {end.mode}", Tone.GOOD)
    return wrong


def _check_held(sight: Sight) -> None:
    if (sight.phase, sight.flag, sight.mode) != ("recovering", "mock", "mock"):
        raise StoryError("the mitigation was taken back while its cause lasted")


def differences(
    incident: Mapping[str, Any],
    file: tuple[bytes, bytes],
    process: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> list[str]:
    """Return what is not as it was: the incident's end, the file and the hotel's process, each before and after."""
    former, present = process
    found = []
    if incident.get("outcome") != "recovered":
        found.append(f"the incident is {incident.get('phase')}, outcome {incident.get('outcome')}")
    if file[0] != file[1]:
        found.append("hotel.env is not what it was, byte for byte")
    if (present["mode"], present["settings"]) != (former["mode"], former["settings"]):
        found.append(f"the hotel runs in mode {present['mode']}, not as before")
    if present["pid"] == former["pid"]:
        found.append("the hotel was never restarted: no change was ever in force")
    return found


async def _stay_up(stage: Stage, lab: Lab, daemon: Daemon, witness: Witness) -> None:
    """Say what can be done, and go on telling what happens, until Ctrl-C."""
    _offer(stage, lab, daemon)
    try:
        while True:
            await witness.look()
            await asyncio.sleep(0.5)
    except asyncio.CancelledError:  # Ctrl-C is how this is meant to end
        if task := asyncio.current_task():
            task.uncancel()


def _offer(stage: Stage, lab: Lab, daemon: Daemon) -> None:
    """Print addresses, and commands to copy."""
    stage.title("It stays up until Ctrl-C")
    places = {"hotel": f"{lab.url('hotel')}/api/mode", "Stopgap": f"{daemon.url}/metrics"}
    if lab.real:
        places |= {"Prometheus": f"{lab.prometheus_url}/alerts", "Alertmanager": f"{lab.alertmanager_url}"}
    for name, address in places.items():
        stage.line(f"  {name:<13} {address}")
    command = shlex.quote(os.path.relpath(Path(sys.executable).with_name("stopgap")))
    stage.line("\nIn another terminal, in this directory:", Tone.DIM)
    stage.line(f"  export STOPGAP_URL={daemon.url}")
    stage.line(f"  export STOPGAP_CONTROL_TOKEN_FILE={shlex.quote(str(daemon.token_file))}")
    stage.line(f"  {command} incidents")
    stage.line(f"  {command} brake on --why 'let me look first'")
    for broken in ("true", "false"):
        body = shlex.quote(f'{{"broken": {broken}}}')
        stage.line(f"  curl -X PUT {lab.url('pms')}/control -d {body}")
    stage.line("\nWhat happens is told here:", Tone.DIM)
