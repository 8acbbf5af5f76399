"""The Python SDK of the Agent Client Protocol as a client of `meanwhile acp`, with a scripted model.

    python3 -m venv /tmp/acp && /tmp/acp/bin/pip install agent-client-protocol
    /tmp/acp/bin/python tests/acp/by-hand/sdk.py target/debug/meanwhile

Gets a background result while the prompt is held, answers a permission request, and loads the session again.
"""
import asyncio
import os
import sys
import tempfile

from acp import PROTOCOL_VERSION, Client, RequestPermissionResponse, spawn_agent_process, text_block
from acp.schema import AllowedOutcome

SCRIPT = """
[[turn]]
text = 'I start it.'
[[turn.call]]
tool = 'background_run'
input = { command = 'sleep 1; echo built > made; cat made; exit 3' }
save = { task = '[0-9a-f]{8}' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['[bg:{{task}}] exited 3']
text = 'It has failed.'
"""


class Editor(Client):
    def __init__(self):
        self.said, self.asked, self.unknown = [], 0, []

    async def request_permission(self, options, session_id, tool_call, **kw):
        self.asked += 1
        chosen = AllowedOutcome(outcome="selected", option_id=options[0].option_id)
        return RequestPermissionResponse(outcome=chosen)

    async def session_update(self, session_id, update, **kw):
        shown = update.model_dump(exclude_none=True, by_alias=True)
        print(" ", str(shown)[:150])
        if shown["sessionUpdate"] == "agent_message_chunk":
            self.said.append(shown["content"]["text"])

    async def ext_notification(self, method, params):
        self.unknown.append(method)


async def main(binary):
    with tempfile.TemporaryDirectory() as home:
        place, script = os.path.join(home, "project"), os.path.join(home, "script.toml")
        os.mkdir(place)
        with open(script, "w") as file:
            file.write(SCRIPT)
        env = dict(os.environ, MEANWHILE_STATE_DIR=os.path.join(home, "state"), MEANWHILE_MODEL="script/" + script)
        editor = Editor()
        async with spawn_agent_process(editor, binary, "acp", env=env) as (agent, _):
            hello = await agent.initialize(protocol_version=PROTOCOL_VERSION, client_capabilities=None)
            print("initialize", hello.protocol_version, hello.agent_info)
            session = await agent.new_session(cwd=place, mcp_servers=[])
            answer = await agent.prompt(session_id=session.session_id, prompt=[text_block("does it build?")])
            print("prompt", answer.stop_reason)
        assert "".join(editor.said).endswith("It has failed."), editor.said
        assert editor.asked == 1 and not editor.unknown, (editor.asked, editor.unknown)
        again = Editor()
        async with spawn_agent_process(again, binary, "acp", env=env) as (agent, _):
            await agent.initialize(protocol_version=PROTOCOL_VERSION, client_capabilities=None)
            await agent.load_session(session_id=session.session_id, cwd=place, mcp_servers=[])
            listed = await agent.list_sessions(cwd=place)
            print("list", [it.title for it in listed.sessions])
        assert "It has failed." in "".join(again.said), again.said
    print("all well")


asyncio.run(main(os.path.abspath(sys.argv[1])))
