// A session with spawn, push, drain and stop, through vscode-jsonrpc, which many editors' clients use.
// The daemon is the binary that MEANWHILE_BIN names.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { mkdtempSync, mkdirSync, rmSync, readFileSync, existsSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");
const rpc = require("vscode-jsonrpc/node");

const DEADLINE_MS = 20_000;

const binary = process.env.MEANWHILE_BIN;
assert.ok(binary, "MEANWHILE_BIN must name the binary");

/** Stores every push, and can wait for one. */
class Pushes {
  #seen = [];
  #waiting = new Set();

  constructor(connection) {
    const remember = (method, params) => {
      this.#seen.push({ method, params });
      for (const look of this.#waiting) look();
    };
    connection.onNotification(remember);
    // The library does not pass `$/progress` to this handler; it has a separate one.
    connection.onUnhandledProgress((params) => remember("$/progress", params));
  }

  index(method, fits) {
    return this.#seen.findIndex((push) => push.method === method && fits(push.params));
  }

  wait(method, fits) {
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#waiting.delete(look);
        const methods = this.#seen.map((push) => push.method);
        reject(new Error(`no fitting ${method} among ${methods}`));
      };
      const timer = setTimeout(late, DEADLINE_MS);
      const look = () => {
        const index = this.index(method, fits);
        if (index < 0) return;
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(this.#seen[index].params);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** Whether a process has exited. A zombie counts as exited. */
function hasEnded(pid) {
  const stat = `/proc/${pid}/stat`;
  try {
    return readFileSync(stat, "utf8").includes(") Z ");
  } catch {
    return true;
  }
}

const exitedOf = (id) => (params) => params.notification.task.id === id;

async function session(connection, workspace) {
  const pushes = new Pushes(connection);
  const tokens = [];
  connection.onRequest("window/workDoneProgress/create", ({ token }) => {
    tokens.push(token);
    return null;
  });
  connection.listen();

  const { capabilities } = await connection.sendRequest("initialize", {
    processId: process.pid,
    capabilities: { window: { workDoneProgress: true } },
    workspaceFolders: [{ uri: pathToFileURL(workspace).href, name: "workspace" }],
  });
  const { methods } = capabilities.experimental.meanwhile;
  assert.ok(methods.includes("task/spawn"));
  await connection.sendNotification("initialized", {});

  // Spawn, push, drain.
  const { task } = await connection.sendRequest("task/spawn", {
    command: "echo from the task; exit 3",
    label: "a peer's",
  });
  assert.equal(task.workspace, workspace);
  const { notification } = await pushes.wait("task/exited", exitedOf(task.id));
  assert.deepEqual(notification.task.exit, { code: 3, signal: null });
  assert.ok(
    pushes.index("task/started", (params) => params.task.id === task.id) <
      pushes.index("task/exited", exitedOf(task.id)),
  );
  const drained = await connection.sendRequest("task/drain", {});
  assert.deepEqual(drained, { notifications: [notification], remaining: 0 });
  const read = await connection.sendRequest("task/read", { id: task.id });
  assert.equal(read.data, "from the task\n");

  // Cancel a wait through the library's cancellation token.
  const long = await connection.sendRequest("task/spawn", {
    command: "setsid sleep 600 & echo $! > child; wait",
  });
  const source = new rpc.CancellationTokenSource();
  const wait = connection.sendRequest("task/wait", { ids: [long.task.id] }, source.token);
  source.cancel();
  await assert.rejects(wait, (error) => error.code === -32800);

  // A stop ends the whole process tree; a push and the standard progress report it.
  const child = join(workspace, "child");
  const end = Date.now() + DEADLINE_MS;
  while (!(existsSync(child) && readFileSync(child, "utf8").endsWith("\n"))) {
    assert.ok(Date.now() < end, "the task did not start its child");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const pid = Number(readFileSync(child, "utf8"));
  const stopped = await connection.sendRequest("task/stop", { id: long.task.id });
  assert.equal(stopped.task.state, "stopped");
  assert.ok(hasEnded(pid), "a child outlived the stop");
  await pushes.wait("task/exited", exitedOf(long.task.id));
  await pushes.wait(
    "$/progress",
    (params) => tokens.includes(params.token) && params.value.kind === "end",
  );

  // Errors arrive as the library's error type.
  const unknown = connection.sendRequest("task/check", { id: "00000000" });
  await assert.rejects(unknown, (error) => error.code === 1001 && error.data.kind === "unknownTask");

  assert.equal(await connection.sendRequest("shutdown"), null);
  await connection.sendNotification("exit");
}

async function main() {
  const root = mkdtempSync(join(tmpdir(), "meanwhile-peer-"));
  const workspace = join(root, "workspace");
  mkdirSync(workspace);
  const daemon = spawn(binary, ["serve"], {
    cwd: workspace,
    env: { PATH: process.env.PATH, HOME: root, MEANWHILE_STATE_DIR: join(root, "state") },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exit = new Promise((resolve) => daemon.on("exit", resolve));
  const connection = rpc.createMessageConnection(
    new rpc.StreamMessageReader(daemon.stdout),
    new rpc.StreamMessageWriter(daemon.stdin),
  );
  try {
    await session(connection, workspace);
    assert.equal(await exit, 0, "the exit code after shutdown");
  } finally {
    connection.dispose();
    daemon.kill("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  }
}

main().then(
  () => console.log("vscode-jsonrpc: a spawn, push, drain, stop session works"),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
