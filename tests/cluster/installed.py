"""An installation out of its rendered manifests, as processes of this machine: what a kubelet does
with containers, mounts, variables and names, with the real servers and services."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trialbus.local.servers.find import find_mongod, find_nats_server
from trialbus.local.servers.ports import free_ports
from trialbus.testkit.programs import TRIALBUS, program_environ

Object = dict[str, Any]
Secrets = Mapping[str, Mapping[str, str]]

SERVICES = (
    "gateway",
    "experiment",
    "suggestion",
    "trial-launcher",
    "metrics-collector",
    "early-stopping",
)
JOB_DEADLINE_S = 90.0


class Installed:
    """objects: of the manifests, with the prefix and in the namespace trialbus. more: variables of
    every service that a pod has from its cluster."""

    def __init__(
        self, objects: Sequence[Object], secrets: Secrets, folder: Path, **more: str
    ) -> None:
        self.folder = folder
        self._objects, self._secrets, self._more = objects, secrets, more
        ports = free_ports(3 * len(SERVICES))
        self.health = {name: next(ports) for name in SERVICES}
        self.http = next(ports)
        self._grpc = {name: next(ports) for name in SERVICES}
        self._places = self._addresses(ports)
        self._running = ExitStack()

    def _addresses(self, ports: Iterator[int]) -> Mapping[str, str]:
        """What stands in manifests -> what stands for it here."""
        nats, monitor, mongod = next(ports), next(ports), next(ports)
        inside = "trialbus-{}.trialbus.svc"
        return {
            f"{inside.format('nats')}:4222": f"127.0.0.1:{nats}",
            "0.0.0.0:4222": f"127.0.0.1:{nats}",
            "0.0.0.0:8222": f"127.0.0.1:{monitor}",
            f"trialbus-mongodb-0.{inside.format('mongodb-members')}:27017": f"127.0.0.1:{mongod}",
            "port: 27017": f"port: {mongod}",
            "bindIpAll: true": "bindIp: 127.0.0.1",
            f"http://{inside.format('gateway')}": f"http://127.0.0.1:{self.http}",
            **{
                f"{inside.format(name)}:6789": f"127.0.0.1:{port}"
                for name, port in self._grpc.items()
            },
        }

    def _named(self, kind: str, name: str) -> Object:
        [found] = [
            it
            for it in self._objects
            if it["kind"] == kind and re.fullmatch(name, it["metadata"]["name"])
        ]
        return found

    # -- what is started

    def start_servers(self) -> None:
        self._start("StatefulSet", "trialbus-nats", str(find_nats_server().path))
        self._start("StatefulSet", "trialbus-mongodb", str(find_mongod().path))

    def run_jobs(self) -> None:
        for name in ("mongodb-initiate", "provision"):
            pod = self._pod("Job", f"trialbus-{name}-[0-9a-f]{{8}}")
            command, environ = pod.command("")
            done = subprocess.run(
                command,
                env=environ,
                capture_output=True,
                text=True,
                timeout=JOB_DEADLINE_S,
                check=False,
            )
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    def start_service(self, name: str) -> None:
        ports = {"HEALTH": self.health[name], "GRPC": self._grpc[name], "HTTP": self.http}
        variables = {f"TRIALBUS_{kind}_PORT": str(port) for kind, port in ports.items()}
        self._start("Deployment", f"trialbus-{name}", "", **variables, **self._more)

    def log(self, name: str) -> str:
        return (self.folder / f"trialbus-{name}" / "log").read_text()

    def _start(self, kind: str, name: str, entrypoint: str, **environ: str) -> None:
        pod = self._pod(kind, name)
        command, variables = pod.command(entrypoint)
        with (pod.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**variables, **environ}, stdout=log, stderr=log
            )
        self._running.callback(_ended, process)

    def _pod(self, kind: str, name: str) -> "_Pod":
        it = self._named(kind, name)
        folder = self.folder / it["metadata"]["name"]
        folder.mkdir()
        return _Pod(it["spec"]["template"]["spec"], folder, self._placed, self._files_of)

    def close(self) -> None:
        self._running.close()

    # -- what a kubelet does

    def _placed(self, text: str) -> str:
        for said, meant in self._places.items():
            text = text.replace(said, meant)
        return text

    def _files_of(self, source: Mapping[str, Any]) -> Mapping[str, str]:
        """Of a volume: file -> content. Raises KeyError for a key that a Secret has not."""
        if "projected" in source:
            sources = [self._files_of(it) for it in source["projected"]["sources"]]
            return {name: text for it in sources for name, text in it.items()}
        if "configMap" in source:
            return dict(self._named("ConfigMap", source["configMap"]["name"])["data"])
        if "secret" in source:
            secret = source["secret"]
            data = self._secrets[secret.get("secretName") or secret["name"]]
            items = secret.get("items") or [{"key": it, "path": it} for it in data]
            return {it["path"]: data[it["key"]] for it in items}
        return {}


class _Pod:
    """Its volumes as folders, its paths as paths below them."""

    def __init__(
        self,
        spec: Object,
        folder: Path,
        placed: Callable[[str], str],
        files_of: Callable[[Mapping[str, Any]], Mapping[str, str]],
    ) -> None:
        self.folder = folder
        self._spec, self._placed_outside = spec, placed
        self._secret_of = files_of
        for volume in spec["volumes"]:
            (folder / volume["name"]).mkdir()
        mounts = [mount for it in self._containers() for mount in it["volumeMounts"]]
        self._paths = {it["mountPath"]: str(folder / it["name"]) for it in mounts}
        for volume in spec["volumes"]:
            for name, text in files_of(volume).items():
                path = folder / volume["name"] / name
                path.write_text(text if "secret" in volume else self.placed(text))
                path.chmod(0o400)
        for claim in {it["name"] for it in mounts} - {it["name"] for it in spec["volumes"]}:
            (folder / claim).mkdir()

    def _containers(self) -> list[Object]:
        return [*self._spec.get("initContainers", []), *self._spec["containers"]]

    def placed(self, text: str) -> str:
        longest_first = "|".join(sorted(self._paths, key=len, reverse=True))
        path = re.compile(rf"(?<![\w/.])({longest_first})(?![\w-])")
        return self._placed_outside(path.sub(lambda found: self._paths[found[1]], text))

    def command(self, entrypoint: str) -> tuple[list[str], dict[str, str]]:
        """The one container's, after the init containers have run."""
        for it in self._spec.get("initContainers", []):
            program = [shutil.which(it["command"][0]) or it["command"][0], *it["command"][1:]]
            subprocess.run([self.placed(word) for word in program], check=True)
        [container] = self._spec["containers"]
        words = container.get("command") or [entrypoint]
        # The program is this machine's: its path may begin as a mount's does.
        runs = TRIALBUS if words[0] == "trialbus" else words[:1]
        environ = program_environ(self.folder) | self._environ(container)
        said = [*words[1:], *container.get("args", [])]
        return [*runs, *map(self.placed, said)], environ

    def _environ(self, container: Object) -> dict[str, str]:
        found: dict[str, str] = {}
        for it in container.get("env", []):
            value = it.get("value", "")
            source = it.get("valueFrom", {})
            if "secretKeyRef" in source:
                key = source["secretKeyRef"]
                files = self._secret_of({"secret": {"secretName": key["name"]}})
                value = files[key["key"]]
            elif "fieldRef" in source:
                value = self.folder.name
            for name, said in found.items():
                value = value.replace(f"$({name})", said)
            found[it["name"]] = self.placed(value)
        return found


def _ended(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def installed(
    objects: Sequence[Object], secrets: Secrets, folder: Path, **more: str
) -> Iterator[Installed]:
    folder.mkdir()
    it = Installed(objects, secrets, folder, **more)
    try:
        yield it
    finally:
        it.close()
