"""A private Slurm of two nodes on this machine: own keys, ports and folders, no systemd.

``python tests/slurm/cluster.py COMMAND...`` runs a command in it, such as ``bash``.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
NODES = ("n1", "n2")
# Daemons live in sbin, which is not on everybody's path.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

# The defaults of cgroups, accounting and mail need services that containers lack. `cred_expire`
# is how long a requeued job waits: 2 minutes by default, 5 s at least. KillWait is how long a job
# may take to end. Every style of pre-emption has a partition; `urgent` pushes jobs out of them.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
SchedulerTimeSlice=5
ReturnToService=2
KillWait=4
JobRequeue=1
MailProg=/bin/true
PreemptType=preempt/partition_prio
PreemptMode=SUSPEND,GANG
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
SlurmdLogFile={folder}/slurmd.%n.log
NodeName=DEFAULT CPUs=2 RealMemory=4000 Gres=gpu:1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=DEFAULT Nodes=n1,n2 MaxTime=30 State=UP PriorityTier=1
PartitionName=main Default=YES PreemptMode=OFF PriorityTier=5
PartitionName=requeue PreemptMode=REQUEUE
PartitionName=cancel PreemptMode=CANCEL GraceTime=10
PartitionName=suspend PreemptMode=SUSPEND OverSubscribe=FORCE:1
PartitionName=urgent PreemptMode=OFF PriorityTier=10 OverSubscribe=FORCE:1
"""


def reason_against() -> str | None:
    """Return why a cluster cannot be started here, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurm-wlm munge util-linux"
    return None


class Cluster:
    """The daemons, children of this process: they end with it, whatever ends it.

    Parameters
    ----------
    folder : Path
        An empty folder for keys, state and logs. Its path must be short: munge's socket is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons = ExitStack()

    def __enter__(self) -> Cluster:
        self._write_files()
        with self._daemons:
            self._start_munge()
            self._start("slurmctld", "-D", "-c")
            for node in NODES:
                self._start("slurmd", "-D", "-N", node)
            self.wait_for("sinfo -h -N -p main -t idle -o %N", "n1 n2")
            self._daemons = self._daemons.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        with self._daemons:
            self.clear()

    def clear(self) -> None:
        """End all jobs."""
        self.run("scancel", "--full", "--user", getpass.getuser(), check=False)
        self.wait_for("squeue -h -o %T", "")

    def run(
        self,
        *command: str,
        check: bool = True,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to this cluster."""
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=cwd,
            env=env or self.environment,
        )
        if check and ran.returncode:
            raise RuntimeError(f"{' '.join(command)}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def wait_for(self, command: str, output: str, seconds: float = 60) -> None:
        """Wait until the words that a command prints are those of `output`."""
        deadline = time.monotonic() + seconds
        while (said := self.run(*command.split(), check=False).stdout.split()) != output.split():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{p}\n{p.read_text()[-2000:]}" for p in self.folder.glob("*.log"))
                raise TimeoutError(f"{command}: {said} and not {output} for {seconds} s\n{logs}")
            time.sleep(0.1)

    def _write_files(self) -> None:
        for name in ("state", "munge", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        configuration = CONFIGURATION.format(
            folder=self.folder,
            user=getpass.getuser(),
            host=socket.gethostname().split(".")[0],
            ports=_free_ports(3),
        )
        (self.folder / "slurm.conf").write_text(configuration)
        # Slurm wants a device file for each GPU; any will do.
        (self.folder / "gres.conf").write_text("NodeName=n1,n2 Name=gpu File=/dev/null\n")

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        options = [f"--{option}={munge / name}" for option, name in files.items()]
        self._start("munged", "--foreground", "--force", f"--seed-file={munge / 'seed'}", *options)
        deadline = time.monotonic() + 20
        while not (munge / "socket").exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _start(self, *command: str) -> None:
        with (self.folder / "daemons.log").open("ab") as log:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops us
            )
        self._daemons.callback(_stop, daemon)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, Cluster(Path(name)) as cluster:
        sys.exit(subprocess.run(sys.argv[1:], env=cluster.environment, check=False).returncode)
