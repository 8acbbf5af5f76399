"""A session with spawn, push, drain and stop, through the Python libraries pygls and pytest-lsp.

The daemon is the binary that MEANWHILE_BIN names.
"""

import asyncio
import os
import pathlib

import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient

DEADLINE = 20.0

PUSHES = [
    "task/started",
    "task/output",
    "task/progress",
    "task/notified",
    "task/exited",
    "tasks/changed",
]


class Client(LanguageClient):
    """A client that stores every push, and can wait for one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []
        self.news = asyncio.Condition()
        for method in PUSHES:
            self.feature(method)(self._remember(method))

    def _remember(self, method):
        async def remember(params):
            async with self.news:
                self.seen.append((method, params))
                self.news.notify_all()

        return remember

    def index(self, method, fits):
        for index, (seen, params) in enumerate(self.seen):
            if seen == method and fits(params):
                return index
        return None

    async def push(self, method, fits):
        async with asyncio.timeout(DEADLINE), self.news:
            await self.news.wait_for(lambda: self.index(method, fits) is not None)
        return self.seen[self.index(method, fits)][1]

    async def ask(self, method, params=None):
        return await self.protocol.send_request_async(method, params or {})


@pytest_lsp.fixture(
    config=ClientServerConfig(
        server_command=[os.environ["MEANWHILE_BIN"], "serve"],
        client_factory=lambda: Client(),
    ),
)
async def client(lsp_client: Client, tmp_path: pathlib.Path):
    result = await lsp_client.initialize_session(
        types.InitializeParams(
            process_id=os.getpid(),
            capabilities=types.ClientCapabilities(),
            workspace_folders=[types.WorkspaceFolder(uri=tmp_path.as_uri(), name="workspace")],
        )
    )
    commands = result.capabilities.execute_command_provider.commands
    assert "meanwhile.spawn" in commands
    yield
    await lsp_client.shutdown_session()


def has_ended(pid):
    """Whether a process has exited. A zombie counts as exited."""
    try:
        return ") Z " in pathlib.Path("/proc", pid, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def about(task):
    return lambda params: params.notification.task.id == task.id


async def test_spawn_push_drain(client: Client, tmp_path: pathlib.Path):
    task = (await client.ask("task/spawn", {"command": "echo from the task; exit 3"})).task
    assert task.workspace == str(tmp_path)
    told = (await client.push("task/exited", about(task))).notification
    assert (told.task.exit.code, told.task.exit.signal) == (3, None)
    started = client.index("task/started", lambda params: params.task.id == task.id)
    assert started < client.index("task/exited", about(task))

    drained = await client.ask("task/drain")
    assert [n.task.id for n in drained.notifications] == [task.id]
    assert drained.remaining == 0
    assert (await client.ask("task/drain")).notifications == []
    assert (await client.ask("task/read", {"id": task.id})).data == "from the task\n"


async def test_stop_ends_the_whole_tree(client: Client, tmp_path: pathlib.Path):
    command = "setsid sleep 600 & echo $! > child; wait"
    task = (await client.ask("task/spawn", {"command": command})).task
    child = tmp_path / "child"
    async with asyncio.timeout(DEADLINE):
        while not (child.exists() and child.read_text().endswith("\n")):
            await asyncio.sleep(0.005)
    stopped = (await client.ask("task/stop", {"id": task.id})).task
    assert (stopped.state, stopped.cause.actor) == ("stopped", "client")
    assert has_ended(child.read_text().strip())
    await client.push("task/exited", about(task))
    await client.push("tasks/changed", lambda params: params.running == [])


async def test_standard_lsp_alone_is_enough(client: Client):
    async def command(name, arguments):
        params = types.ExecuteCommandParams(command=name, arguments=arguments)
        return await client.workspace_execute_command_async(params)

    task = (await command("meanwhile.spawn", [{"command": "exit 4"}]))["task"]
    await client.push("task/exited", lambda params: params.notification.task.id == task["id"])
    drained = await command("meanwhile.drain", [])
    assert [n["task"]["exit"]["code"] for n in drained["notifications"]] == [4]


async def test_errors_are_the_librarys_own(client: Client):
    with pytest.raises(JsonRpcException) as caught:
        await client.ask("task/check", {"id": "00000000"})
    assert caught.value.code == 1001
    assert caught.value.data["kind"] == "unknownTask"
