// Tells the model of an opencode session about its background tasks. Written by `meanwhile setup opencode`.
import { spawn } from "node:child_process";

const binary = "MEANWHILE_BINARY";

// `opencode run` leaves as soon as the model has ended its turn.
const endsWithTurn = process.argv[2] === "run";

// Runs the hook at a moment of a session, and returns what the model is to read.
const hook = (event, session) =>
  new Promise((resolve) => {
    const child = spawn(binary, ["hook", "opencode"], { stdio: ["pipe", "pipe", "ignore"] });
    const parts = [];
    child.stdout.on("data", (part) => parts.push(part));
    child.on("error", () => resolve(""));
    child.on("close", () => {
      try {
        resolve(JSON.parse(Buffer.concat(parts).toString()).text ?? "");
      } catch {
        // Silence: there is nothing to say.
        resolve("");
      }
    });
    child.stdin.on("error", () => {});
    const payload = { hook_event_name: event, session_id: session, ends_with_turn: endsWithTurn };
    child.stdin.end(JSON.stringify(payload));
  });

export const Meanwhile = async ({ client }) => {
  const waiting = new Set();
  // The sessions of this process, and those of them whose model knows what runs.
  const sessions = new Set();
  const informed = new Set();
  return {
    // A command of the shell knows whose it is.
    "shell.env": async (input, output) => {
      if (input.sessionID) output.env.MEANWHILE_QUEUE = input.sessionID;
    },
    "chat.message": async (input, output) => {
      const id = input.sessionID;
      // The first prompt to a session that was taken up or compacted also tells what runs.
      const text = await hook(informed.has(id) ? "chat.message" : "session.created", id);
      sessions.add(id);
      informed.add(id);
      const last = output.parts.at(-1);
      // Parts are ordered by their ids. A synthetic one is for the model, not for the person.
      if (text && last)
        output.parts.push({
          id: `${last.id}m`, sessionID: last.sessionID, messageID: last.messageID,
          type: "text", text, synthetic: true,
        });
    },
    // The server of MCP is one for all sessions.
    "tool.execute.before": async (input, output) => {
      if (input.tool.startsWith("meanwhile_")) output.args._session = input.sessionID;
    },
    "tool.execute.after": async (input, output) => {
      const text = await hook("tool.execute.after", input.sessionID);
      if (text) output.output = `${output.output ?? ""}\n${text}`;
    },
    event: async ({ event }) => {
      const id = event.properties?.sessionID ?? event.properties?.info?.id;
      if (!id) return;
      if (event.type === "session.compacted") informed.delete(id);
      if (event.type === "session.deleted" && sessions.delete(id)) await hook(event.type, id);
      if (event.type !== "session.idle" || endsWithTurn || waiting.has(id)) return;
      waiting.add(id);
      const text = await hook("session.idle", id);
      waiting.delete(id);
      const parts = [{ type: "text", text }];
      if (text) await client.session.promptAsync({ path: { id }, body: { parts } });
    },
    dispose: async () => {
      await Promise.all([...sessions].map((id) => hook("dispose", id)));
    },
  };
};
