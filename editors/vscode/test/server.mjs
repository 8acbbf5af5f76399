// A real VS Code server for one test run, in a folder of its own; and nothing left of it afterwards.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const START_TIMEOUT_MS = 60_000;

/** Starts it; `flags` go to code-server. `dispose` ends it with all that it started. */
export async function startServer(flags = [], env = {}) {
  const root = await mkdtemp(join(tmpdir(), 'meanwhile-vscode-'));
  const workspace = join(root, 'project');
  const state = join(root, 'state');
  await mkdir(workspace);
  const child = spawn(join(here, 'serve.sh'), [workspace, join(root, 'data'), ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
    env: {
      ...process.env,
      MEANWHILE_STATE_DIR: state,
      MEANWHILE_TEST_RESULTS: join(root, 'results'),
      ...env,
    },
  });
  const port = await new Promise((done, fail) => {
    child.stdout.once('data', (data) => done(Number(String(data))));
    child.once('exit', (code) => fail(new Error(`the server ended with ${code}`)));
  });
  const end = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const answers = await fetch(`http://127.0.0.1:${port}/healthz`).then(
      (reply) => reply.ok,
      () => false,
    );
    if (answers) break;
    if (Date.now() > end) throw new Error('the server does not answer');
    await new Promise((done) => setTimeout(done, 100));
  }
  const exited = new Promise((done) => child.once('exit', done));
  return {
    port,
    root,
    workspace,
    state,
    results: join(root, 'results'),
    pid: child.pid,
    kill(signal) {
      try {
        process.kill(-child.pid, signal);
      } catch {
        // It is gone already.
      }
      return exited;
    },
    async dispose() {
      await this.kill('SIGTERM');
      await rm(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** Writes files into the workspace. */
export async function writeFiles(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}
