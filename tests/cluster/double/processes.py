"""Containers as processes of this machine: env, downward API, volumes as folders, exit codes.

There is no isolation: paths of volume mounts in commands, arguments and environment are rewritten
to the folders that stand for them, and programs of images to programs that a test names.
"""

import asyncio
import base64
import contextlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.double.logs import Book

Object = dict[str, Any]
Ended = Callable[[int, str, str], None]
TERMINATION_LOG = "/dev/termination-log"
MESSAGE_BYTES = 4096
# What a container of most images has; the rest of a pod's environment is its own.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_REFERENCE = re.compile(r"\$(\$|\((?P<name>[-._a-zA-Z0-9]+)\))")


class Processes:
    """config: (kind, namespace, name) -> data of ConfigMaps and Secrets, for env and volumes."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self.folder, self.now = folder, now
        self.images: dict[str, list[str]] = {}
        self.programs: dict[str, str] = {}
        self.environ: dict[str, str] = {}
        self.config: Callable[[str, str, str], dict[str, bytes]] = lambda *_: {}
        # Volumes that outlive a pod: claims by namespace and name.
        self.tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        for task in tuple(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(tuple(self.tasks), timeout=5.0)


def downward(pod: Object, path: str) -> str:
    """The value of a fieldRef."""
    meta = pod["metadata"]
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((meta.get(found[1]) or {}).get(found[2], ""))
    known = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
    return str(known.get(path, ""))


class Process:
    """One start of one container."""

    def __init__(
        self, processes: Processes, pod: Object, spec: Object, book: Book, ended: Ended
    ) -> None:
        self.processes, self.pod, self.spec = processes, pod, spec
        self.book, self.ended = book, ended
        self.folder = processes.folder / pod["metadata"]["uid"]
        self.paths = {TERMINATION_LOG: str(self.folder / spec["name"] / "termination-log")}
        own = spec.get("terminationMessagePath", TERMINATION_LOG)
        self.message_path = Path(self.paths[TERMINATION_LOG])
        self.paths[own] = str(self.message_path)
        self.group = 0
        # A signal that came before there was a process.
        self.asked: signal.Signals | None = None

    def start(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run())
        self.processes.tasks.add(task)
        task.add_done_callback(self.processes.tasks.discard)

    def term(self, now: bool) -> None:
        """SIGTERM to all of it, or SIGKILL."""
        self.asked = signal.SIGKILL if now else self.asked or signal.SIGTERM
        if self.group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.group, signal.SIGKILL if now else signal.SIGTERM)

    async def _run(self) -> None:
        code, reason = 128, "StartError"
        message = ""
        try:
            self._volumes()
            environ = self._environ()
            argv = self._argv(environ)
            self.message_path.parent.mkdir(parents=True, exist_ok=True)
            self.message_path.write_bytes(b"")
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environ,
                cwd=self._folder_of_work(),
                start_new_session=True,
            )
        except (OSError, LookupError) as error:
            message = f"failed to create containerd task: {error}"
        else:
            self.group = process.pid
            if self.asked is not None:
                self.term(self.asked == signal.SIGKILL)
            code, reason, message = await self._until_end(process)
        self.ended(code, reason, message)

    async def _until_end(self, process: asyncio.subprocess.Process) -> tuple[int, str, str]:
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(65536):
                self.book.write(data, self.processes.now())
            code = await process.wait()
        finally:
            # Children that it left behind are of the same container.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, signal.SIGKILL)
        code = code if code >= 0 else 128 - code
        return code, "", self._message(code)

    def _message(self, code: int) -> str:
        with contextlib.suppress(OSError):
            if left := self.message_path.read_bytes()[:MESSAGE_BYTES]:
                return left.decode(errors="replace")
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            tail = b"".join(line for _, line in self.book.lines[-80:])[-2048:]
            return tail.decode(errors="replace")
        return ""

    def _folder_of_work(self) -> str:
        folder = self.spec.get("workingDir")
        shown = self._rewritten(folder) if folder else ""
        if shown and Path(shown).is_dir():
            return shown
        place = self.folder / self.spec["name"]
        place.mkdir(parents=True, exist_ok=True)
        return str(place)

    # -- volumes

    def _volumes(self) -> None:
        volumes = {v["name"]: v for v in self.pod["spec"].get("volumes") or ()}
        for mount in self.spec.get("volumeMounts") or ():
            folder = self._volume(volumes[mount["name"]])
            if sub := mount.get("subPath"):
                folder = folder / str(sub)
            self.paths[mount["mountPath"].rstrip("/")] = str(folder)

    def _volume(self, volume: Object) -> Path:
        namespace = str(self.pod["metadata"]["namespace"])
        folder: Path
        if claim := volume.get("persistentVolumeClaim"):
            folder = self.processes.folder / "claims" / namespace / str(claim["claimName"])
        else:
            folder = self.folder / "volumes" / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        for kind, key in (("configMap", "name"), ("secret", "secretName")):
            if source := volume.get(kind):
                data = self.processes.config(kind, namespace, source[key])
                for name, content in data.items():
                    (folder / name).write_bytes(content)
        for item in (volume.get("downwardAPI") or {}).get("items") or ():
            text = downward(self.pod, (item.get("fieldRef") or {}).get("fieldPath", ""))
            (folder / item["path"]).write_text(text)
        return folder

    def _rewritten(self, text: str) -> str:
        """Paths of mounts, at path borders, as the folders that stand for them."""
        for path in sorted(self.paths, key=len, reverse=True):
            pattern = rf"(?<![\w/.-]){re.escape(path)}(?![\w.-])"
            text = re.sub(pattern, lambda _, to=self.paths[path]: to, text)  # type: ignore[misc]
        return text

    # -- the command

    def _environ(self) -> dict[str, str]:
        environ: dict[str, str] = {}
        namespace = self.pod["metadata"]["namespace"]
        for source in self.spec.get("envFrom") or ():
            for kind, ref in (("configMap", "configMapRef"), ("secret", "secretRef")):
                if ref in source:
                    data = self.processes.config(kind, namespace, source[ref]["name"])
                    prefix = source.get("prefix", "")
                    environ |= {prefix + k: v.decode() for k, v in data.items()}
        for entry in self.spec.get("env") or ():
            environ[entry["name"]] = self._value(entry, environ, namespace)
        environ = {key: self._rewritten(value) for key, value in environ.items()}
        base = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        told = {"TRIALBUS_TERMINATION_LOG": str(self.message_path)}
        host = {"HOSTNAME": self.pod["metadata"]["name"]}
        return base | host | told | self.processes.environ | environ

    def _value(self, entry: Object, environ: dict[str, str], namespace: str) -> str:
        source = entry.get("valueFrom")
        if not source:
            return _expanded(entry.get("value", ""), environ)
        if field := source.get("fieldRef"):
            return downward(self.pod, field["fieldPath"])
        for kind, ref in (("configMap", "configMapKeyRef"), ("secret", "secretKeyRef")):
            if key := source.get(ref):
                data = self.processes.config(kind, namespace, key["name"])
                return data[key["key"]].decode()
        return ""

    def _argv(self, environ: dict[str, str]) -> list[str]:
        image = self.spec.get("image", "")
        command = self.spec.get("command")
        args = self.spec.get("args")
        if not command:
            command = self.processes.images.get(image)
            if command is None:
                raise LookupError(f"the entry point of {image!r} is not known here")
            argv = [*command, *(args or ())]
        else:
            argv = [*command, *(args or ())]
        argv = [self._rewritten(_expanded(part, environ)) for part in argv]
        argv[0] = self.processes.programs.get(argv[0], argv[0])
        return argv


def _expanded(text: str, environ: dict[str, str]) -> str:
    """`$(NAME)` of the container's environment; `$$` is a dollar."""

    def one(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "$"
        return environ.get(name, found[0])

    return _REFERENCE.sub(one, text)


def config_data(obj: Object | None) -> dict[str, bytes]:
    """Of a ConfigMap or a Secret."""
    if obj is None:
        return {}
    plain = {k: str(v).encode() for k, v in (obj.get("data") or {}).items()}
    if obj["kind"] == "Secret":
        plain = {k: base64.b64decode(v) for k, v in plain.items()}
        return plain | {k: str(v).encode() for k, v in (obj.get("stringData") or {}).items()}
    binary = obj.get("binaryData") or {}
    return plain | {k: base64.b64decode(v) for k, v in binary.items()}
