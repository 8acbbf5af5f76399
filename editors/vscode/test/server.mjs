// A real VS Code server for one test run, in a folder of its own, which is removed afterwards.
import { execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const START_TIMEOUT_MS = 90_000;
const program = join(here, '../bin/meanwhile');

/** Settings that keep a window from changing by itself. */
const SETTINGS = {
  'workbench.startupEditor': 'none',
  'telemetry.telemetryLevel': 'off',
  'security.workspace.trust.enabled': false,
  'extensions.autoUpdate': 'off',
  'extensions.autoCheckUpdates': false,
  'update.mode': 'none',
  'chat.disableAIFeatures': true,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'git.enabled': false,
  'window.commandCenter': false,
  // Commands of tests are short.
  'meanwhile.notifyAfterSeconds': 0,
  // Renders text that a test can read, instead of pixels.
  'terminal.integrated.gpuAcceleration': 'off',
};

/**
 * Starts the server. `flags` go to code-server, `vsix` is installed first, `settings` are the user's,
 * `files` are the workspace's, `model` names a script among them ('': no model), `env` is added,
 * `workspace` is a folder of the caller's; with `configured` the program reads its settings from
 * `../config`. `dispose` stops the server and everything that it started.
 */
export async function startServer(
  flags = [],
  { model, vsix, settings = {}, files = {}, env = {}, workspace: given, configured } = {},
) {
  const root = await mkdtemp(join(tmpdir(), 'meanwhile-vscode-'));
  const workspace = given ?? join(root, 'project');
  const state = join(root, 'state');
  await mkdir(workspace, { recursive: true });
  await writeFiles(workspace, files);
  await writeFiles(join(root, 'data/user/User'), {
    'settings.json': JSON.stringify({ ...SETTINGS, ...settings }),
  });
  if (vsix) install(root, vsix);
  const child = spawn(join(here, 'serve.sh'), [workspace, join(root, 'data'), ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
    env: {
      ...process.env,
      MEANWHILE_STATE_DIR: state,
      ...(configured ? { XDG_CONFIG_HOME: join(root, 'config') } : {}),
      MEANWHILE_TEST_RESULTS: join(root, 'results'),
      // Not the model of the person who runs the tests.
      MEANWHILE_MODEL: model === '' ? undefined : `script/${join(root, model ?? 'no-script.toml')}`,
      ANTHROPIC_API_KEY: undefined,
      OPENAI_API_KEY: undefined,
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
  const signal = (name) => {
    try {
      process.kill(-child.pid, name);
    } catch {
      // The server has exited already.
    }
  };
  // Tasks outlive every editor; those of a test would keep running without use.
  const stopTasks = () => {
    const env = { ...process.env, MEANWHILE_STATE_DIR: state };
    execFileSync(program, ['stop', '--all'], { cwd: workspace, env, stdio: 'ignore' });
  };
  let disposed = false;
  // If the tests are killed, their folder stays, but nothing keeps running.
  process.on('exit', () => {
    signal('SIGKILL');
    if (!disposed) stopTasks();
  });
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(name, () => process.exit(1));
  const exited = new Promise((done) => child.once('exit', done));
  return {
    port,
    root,
    workspace,
    state,
    results: join(root, 'results'),
    kill(name) {
      signal(name);
      return exited;
    },
    async dispose() {
      await this.kill('SIGTERM');
      stopTasks();
      disposed = true;
      await rm(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** Installs a package as a person would. */
function install(root, vsix) {
  const entry = join(
    process.env.MEANWHILE_EDITORS,
    'code-server/node_modules/code-server/out/node/entry.js',
  );
  execFileSync(
    process.execPath,
    [
      entry,
      '--extensions-dir',
      join(root, 'data/ext'),
      '--user-data-dir',
      join(root, 'data/user'),
      '--install-extension',
      vsix,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
}

/** Writes files into a folder. */
export async function writeFiles(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}
