// Tells the model of an opencode session about its background tasks. Written by `meanwhile setup opencode`.
import { spawn } from "node:child_process";

const binary = "MEANWHILE_BINARY";

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
    child.stdin.end(JSON.stringify({ hook_event_name: event, session_id: session }));
  });

export const Meanwhile = async ({ client }) => {
  const waiting = new Set();
  return {
    // A command of the shell knows whose it is.
    "shell.env": async (input, output) => {
      if (input.sessionID) output.env.MEANWHILE_QUEUE = input.sessionID;
    },
    "tool.execute.after": async (input, output) => {
      const text = await hook("tool.execute.after", input.sessionID);
      if (text) output.output = `${output.output ?? ""}\n${text}`;
    },
    event: async ({ event }) => {
      const id = event.properties?.sessionID;
      if (event.type !== "session.idle" || !id || waiting.has(id)) return;
      waiting.add(id);
      const text = await hook("session.idle", id);
      waiting.delete(id);
      const parts = [{ type: "text", text }];
      if (text) await client.session.promptAsync({ path: { id }, body: { parts } });
    },
  };
};
