"""Faults: each disturbs one run of a command, and tells what was wrong with how it took it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random

import h5py
import warm
from PIL import Image
from safetensors.torch import load_file, save_file
from support import draw_scene

from faults.cases import IMAGES, PROGRAM, Case, copy_inputs

CLEAN = {1, 2, 65, 66, 74}
"""Exit codes of a command that could not do its work and said why."""
PATIENCE = 600.0
"""Seconds until a command is said to hang, on a machine with much else to do."""

Fault = Callable[[Case, Path, Path, Random], str | None]
"""Disturbs a command with the inputs of a workplace, in a folder of its own."""


Process = subprocess.Popen[bytes] | warm.Program


def start(
    words: list[str], *, limits: Mapping[int, int] | None = None, ignored: tuple[int, ...] = ()
) -> Process:
    """Start a command with signals as in a terminal; tests let it start warm."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        for kind, most in (limits or {}).items():
            resource.setrlimit(kind, (most, most))

    return subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=prepare
    )


def finish(process: Process) -> tuple[int, str]:
    """Return the exit code and stderr; a command that hangs is killed."""
    try:
        _, stderr = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -999, "hangs"
    assert process.returncode is not None
    return process.returncode, stderr.decode(errors="replace")


def judge(code: int, stderr: str, allowed: set[int]) -> str | None:
    """Say what is wrong with how a command ended."""
    if "Traceback" in stderr:
        return f"traceback: {stderr[-300:]}"
    if code not in allowed:
        return f"exit code {code}: {stderr[-300:]}"
    errors = [text for text in stderr.splitlines() if "error:" in text]
    if code in CLEAN and len(errors) != 1:
        return f"exit code {code} with {len(errors)} lines of error: {stderr[-300:]}"
    return None


def whole(case: Case, output: Path) -> str | None:
    """Say what is wrong with the file under its final name, if there is one.

    A training leaves the network of its last checkpoint there: other numbers, of the same shapes.
    """
    found, expected = case.result(output), case.expected
    if found is not None and case.weights:
        header = 8 + int.from_bytes(expected[:8], "little")
        if (found[:header], len(found)) == (expected[:header], len(expected)):
            return None
    if found not in (None, expected):
        return "half-written or wrong under its final name"
    return None


def recovers(case: Case, work: Path, output: Path) -> str | None:
    """Run the command again, and say whether it gives what an undisturbed one gives."""
    code, stderr = finish(start(case.words(work, output, again=True)))
    if code != 0:
        return f"rerun: exit code {code}: {stderr[-300:]}"
    if case.result(output) != case.expected:
        return "rerun: something is lost or doubled"
    rest = [path.name for path in output.parent.iterdir() if path.suffix in (".part", ".tmp")]
    return f"rerun: {rest} is left" if rest else None


def listens(process: Process) -> bool:
    """Say whether a program handles SIGTERM by now; Python itself does not."""
    with contextlib.suppress(OSError):  # it has ended
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def stopped(number: int, case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Send a signal at a random moment."""
    output = folder / case.output
    process = start(case.words(work, output))
    time.sleep(random.uniform(0, 1.1 * case.seconds))
    listening = listens(process)
    process.send_signal(number)
    code, stderr = finish(process)
    # Python sends SIGINT to itself at the end, which shells call 130, too, if it came in an exec().
    special = {signal.SIGINT: {130, -2}, signal.SIGKILL: {-9}}
    allowed = {0} | special.get(signal.Signals(number), {75})
    # -number, or Python's own traceback of Ctrl-C: before our first line ran, or after the last.
    outside = not listening or case.result(output) == case.expected
    silent = code == -number or ("KeyboardInterrupt" in stderr and "/cli/program.py" not in stderr)
    wrong = None if outside and silent else judge(code, stderr, allowed)
    return wrong or whole(case, output) or recovers(case, work, output)


def reader_gone(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Close stdout after a few bytes; of a command that writes a folder, stderr."""
    if case.weights:
        output = folder / case.output
        process = start(case.words(work, output))
        assert process.stderr is not None
        process.stderr.read(random.randrange(1, 100))
        process.stderr.close()
        process.stderr = None
        code = process.wait(PATIENCE)
        return judge(code, "", {0, 141}) or whole(case, output) or recovers(case, work, output)
    process = start(case.words(work, "-"))
    assert process.stdout is not None
    process.stdout.read(random.randrange(200))
    process.stdout.close()
    process.stdout = None
    code, stderr = finish(process)
    return judge(code, stderr, {0, 141})  # 0: all was in the pipe


def disk_full(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Write to a file system with little room."""
    with mounted(folder, f"size={random.randrange(1, 40) * 4096}"):
        output = folder / case.output
        code, stderr = finish(start(case.words(work, output)))
        wrong = judge(code, stderr, {0, 74}) or whole(case, output)
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        return wrong or recovers(case, work, output)


def write_fails(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Let writing fail at a random byte of any file."""
    most = random.randrange(1, len(case.expected))
    output = folder / case.output
    limits = {resource.RLIMIT_FSIZE: most}
    process = start(case.words(work, output), limits=limits, ignored=(signal.SIGXFSZ,))
    code, stderr = finish(process)
    # Workers hand over batches in files of shared memory, and end if they cannot.
    allowed = {0, 1, 74} if case.weights else {0, 74}
    return judge(code, stderr, allowed) or whole(case, output) or recovers(case, work, output)


def read_only(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Write into a folder that cannot be written to."""
    with mounted(folder, "ro"):
        code, stderr = finish(start(case.words(work, folder / case.output)))
        return judge(code, stderr, {74})


def locked(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Hold a lock on all input files, as a hanging lock daemon of NFS does."""
    inputs = copy_inputs(work, case, folder / "inputs")
    output = folder / case.output
    with contextlib.ExitStack() as stack:
        for path in inputs.glob("*.h5"):
            fcntl.flock(stack.enter_context(open(path, "rb")), fcntl.LOCK_EX)
        code, stderr = finish(start(case.words(inputs, output)))
        wrong = judge(code, stderr, {0, 74}) or whole(case, output)
    return wrong or recovers(case, inputs, output)


def damaged(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Overwrite a few bytes of an input, or cut its end."""
    broken = copy_inputs(work, case, folder / "inputs")
    path = random.choice(sorted(path for path in broken.rglob("*") if path.is_file()))
    content = bytearray(path.read_bytes())
    if random.random() < 0.5:
        del content[random.randrange(len(content)) :]
    else:
        for _ in range(random.randrange(1, 20)):
            content[random.randrange(len(content))] = random.randrange(256)
    path.write_bytes(content)
    output = folder / case.output
    code, stderr = finish(start(case.words(broken, output)))
    wrong = judge(code, stderr, {0, 65, 66})  # 0: what was hit does not matter
    if code and not case.weights and case.result(output) is not None:
        return "an output in spite of the error"
    # A training that has met it in a later step leaves the network of its last checkpoint.
    return wrong or (whole(case, output) if code else None)


def vanishing(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Delete an input at a random moment; give it back for the rerun."""
    broken = copy_inputs(work, case, folder / "inputs")
    path = random.choice(sorted(path for path in broken.rglob("*") if path.is_file()))
    output = folder / case.output
    process = start(case.words(broken, output))
    time.sleep(random.uniform(0, case.seconds))
    content = path.read_bytes()
    path.unlink()
    code, stderr = finish(process)
    lists = case.name in ("extract-features", "predict")
    missed = lists and code == 0  # deleted before it was listed
    wrong = judge(code, stderr, {0, 65, 66, 74})
    path.write_bytes(content)
    if missed:
        return wrong
    return wrong or whole(case, output) or recovers(case, broken, output)


def changing(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Kill the run, exchange an input, run again: refused, or computed from what there is now.

    A training goes on with the images that there are, and a complete output is taken as it is.
    """
    broken = copy_inputs(work, case, folder / "inputs")
    output = folder / case.output
    process = start(case.words(broken, output))
    journal = output.with_name(f"{output.name}.part") / "journal.ndjson"
    if case.resumes and not case.weights:
        wanted = random.randrange(1, IMAGES)
        while process.poll() is None and images_in(journal) < wanted:
            time.sleep(0.01)
    else:
        time.sleep(random.uniform(0.5, 1) * case.seconds)
    process.kill()
    finish(process)
    if case.result(output) is not None:
        return whole(case, output)
    exchange(random.choice(sorted(path for path in broken.rglob("*") if path.suffix in EXCHANGES)))
    code, stderr = finish(start(case.words(broken, output, again=True)))
    wrong = judge(code, stderr, {0, 2, 65})
    if wrong or code or case.weights:
        return wrong
    fresh = folder / "fresh" / case.output
    fresh.parent.mkdir()
    code, stderr = finish(start(case.words(broken, fresh)))
    if code == 0 and case.result(output) != case.result(fresh):
        return "something is left of what the input was before"
    return judge(code, stderr, {0})


def images_in(journal: Path) -> int:
    """Count the images that an unfinished output has; its first line is for the settings."""
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def _other_picture(path: Path) -> None:
    Image.fromarray(draw_scene(77)).save(path)


def _other_features(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["features"][:] = file["features"][:][::-1]


def _other_masks(path: Path) -> None:
    """Leave an annotation out that contains no other; of a configuration, change nothing."""
    content = json.loads(path.read_text())
    parents = {mask["parent_id"] for mask in content.get("annotations", [])}
    alone = [mask for mask in content.get("annotations", []) if mask["id"] not in parents]
    if alone:
        content["annotations"].remove(alone[0])
        path.write_text(json.dumps(content))


def _other_weights(path: Path) -> None:
    weights = {name: tensor * 1.01 for name, tensor in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})


EXCHANGES: dict[str, Callable[[Path], None]] = {
    ".png": _other_picture,
    ".h5": _other_features,
    ".json": _other_masks,
    ".safetensors": _other_weights,
}


def exchange(path: Path) -> None:
    """Let a file be another one, as good as it was."""
    EXCHANGES[path.suffix](path)


def two_writers(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Run the command twice at once with one output."""
    output = folder / case.output
    one = start(case.words(work, output))
    time.sleep(random.uniform(0, 0.5 * case.seconds))
    ends = [finish(start(case.words(work, output))), finish(one)]
    wrong = next((w for code, text in ends if (w := judge(code, text, {0, 2, 74}))), None)
    if all(code for code, _ in ends):
        return "neither writer succeeded"
    return wrong or whole(case, output)


def dated_away(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Kill the run, date its state years away, and go on."""
    output = folder / case.output
    process = start(case.words(work, output))
    time.sleep(random.uniform(0.3, 1) * case.seconds)
    process.kill()
    finish(process)
    then = time.time() + random.choice([-1, 1]) * 10 * 365 * 86400
    for path in folder.rglob("*"):
        os.utime(path, (then, then))
    return whole(case, output) or recovers(case, work, output)


def few_descriptors(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Allow few open files."""
    most = random.randrange(6, 40)
    output = folder / case.output
    process = start(case.words(work, output), limits={resource.RLIMIT_NOFILE: most})
    code, stderr = finish(process)
    if "Traceback" in stderr and "unsam_cli/cli/program.py" not in stderr:
        code, stderr = 74, "error: Python itself did not start"
    return judge(code, stderr, {0, *CLEAN}) or whole(case, output) or recovers(case, work, output)


def worker_killed(case: Case, work: Path, folder: Path, random: Random) -> str | None:
    """Kill the worker processes, as the kernel does when memory is short."""
    output = folder / case.output
    process = start(case.words(work, output))
    while process.poll() is None and not (workers := children(process.pid)):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.3 * case.seconds))
    for worker in workers if process.poll() is None else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    code, stderr = finish(process)
    return judge(code, stderr, {0, 1}) or whole(case, output) or recovers(case, work, output)


def children(parent: int) -> list[int]:
    """Return the numbers of the processes that a process has started."""
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    with contextlib.suppress(OSError):  # it has just ended
        return [int(number) for path in listed for number in path.read_text().split()]
    return []


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a small file system over a folder; needs root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def can_mount(folder: Path) -> bool:
    """Tell whether small file systems can be mounted here."""
    if os.geteuid() or not shutil.which("mount"):
        return False
    folder.mkdir(exist_ok=True)
    try:
        with mounted(folder, "size=4096"):
            return True
    except subprocess.CalledProcessError:
        return False


WORKERS: dict[str, Fault] = {"worker killed": worker_killed}
"""Only for commands that start processes: those that train."""
HDF5: dict[str, Fault] = {"HDF5 files locked": locked}
"""Only for commands that read such files."""


def applies(fault: str, case: Case) -> bool:
    """Say whether a command can meet a fault."""
    if fault in HDF5:
        return any(name.endswith(".h5") for name in (*case.inputs, *case.options))
    return bool(case.weights) or fault not in WORKERS


MOUNTING: dict[str, Fault] = {"disk full": disk_full, "read-only folder": read_only}
FAULTS: dict[str, Fault] = {
    "kill -9": partial(stopped, signal.SIGKILL),
    "SIGTERM": partial(stopped, signal.SIGTERM),
    "SIGUSR1": partial(stopped, signal.SIGUSR1),
    "SIGINT": partial(stopped, signal.SIGINT),
    "SIGPIPE": reader_gone,
    "write fails at byte N": write_fails,
    **HDF5,
    "damaged input": damaged,
    "vanishing input": vanishing,
    "changing input": changing,
    "two writers": two_writers,
    "files dated years away": dated_away,
    "few file descriptors": few_descriptors,
    **WORKERS,
    **MOUNTING,
}
