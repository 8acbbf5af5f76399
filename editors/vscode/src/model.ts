// The model that this person's agents use, and its key: chosen here, kept in VS Code's secret storage,
// given to each daemon at its start, and written nowhere else.

import { homedir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';

/** Settings of the daemon, by the names of their environment variables. */
export type Secrets = { [name: string]: string };

const STORED = 'meanwhile.model';
const VENDORS = [
  { label: 'Anthropic', prefix: 'anthropic', key: 'ANTHROPIC_API_KEY' },
  { label: 'OpenAI', prefix: 'openai-responses', key: 'OPENAI_API_KEY' },
  { label: 'OpenAI, chat completions', prefix: 'openai', key: 'OPENAI_API_KEY' },
];
const SERVERS = [
  { label: 'Ollama', description: 'http://127.0.0.1:11434/v1' },
  { label: 'llama.cpp', description: 'http://127.0.0.1:8080/v1' },
  { label: 'Another server...', description: '' },
];

export class ModelSettings implements vscode.Disposable {
  private readonly listening: vscode.Disposable;

  constructor(
    private readonly storage: vscode.SecretStorage,
    changed: () => Promise<void>,
  ) {
    // All windows of a person share the storage; each is notified of a change, also of its own.
    this.listening = storage.onDidChange(({ key }) => {
      if (key === STORED) changed();
    });
  }

  dispose(): void {
    this.listening.dispose();
  }

  async get(): Promise<Secrets> {
    return JSON.parse((await this.storage.get(STORED)) ?? '{}');
  }

  async setKey(): Promise<void> {
    const vendor = await vscode.window.showQuickPick(VENDORS, { title: 'Whose key?' });
    if (!vendor) return;
    const title = `${vendor.label}: the agent's model`;
    const key = await vscode.window.showInputBox({
      title,
      prompt: 'The key. It is kept in the secret storage of this editor.',
      password: true,
      ignoreFocusOut: true,
    });
    if (!key?.trim()) return;
    const name = await vscode.window.showInputBox({
      title,
      prompt: 'The name of the model, as its vendor writes it',
      ignoreFocusOut: true,
    });
    if (!name?.trim()) return;
    await this.keep({
      MEANWHILE_MODEL: `${vendor.prefix}/${name.trim()}`,
      [vendor.key]: key.trim(),
    });
  }

  async useLocalServer(): Promise<void> {
    const title = 'A server of your own';
    const server = await vscode.window.showQuickPick(SERVERS, { title });
    if (!server) return;
    const url =
      server.description ||
      (await vscode.window.showInputBox({
        title,
        prompt: 'Its base URL',
        value: 'http://127.0.0.1:8000/v1',
        ignoreFocusOut: true,
      }));
    if (!url?.trim()) return;
    const name = await vscode.window.showInputBox({
      title,
      prompt: 'The name of the model, as the server writes it',
      ignoreFocusOut: true,
    });
    // Without a name, a model from the environment would be used, not one of this server.
    if (!name?.trim()) return;
    await this.keep({
      OPENAI_BASE_URL: url.trim(),
      MEANWHILE_MODEL: `openai/${name.trim()}`,
    });
  }

  forget(): Promise<void> {
    return this.keep(undefined);
  }

  private async keep(secrets: Secrets | undefined): Promise<void> {
    if (secrets) await this.storage.store(STORED, JSON.stringify(secrets));
    else await this.storage.delete(STORED);
  }
}

/** Opens the program's settings, which include the model; nothing is written until the person saves. */
export async function openModelSettings(): Promise<void> {
  const base = process.env.XDG_CONFIG_HOME || join(homedir(), '.config');
  const file = vscode.Uri.file(join(base, 'meanwhile', 'config.toml'));
  const there = await vscode.workspace.fs.stat(file).then(
    () => true,
    () => false,
  );
  const uri = there ? file : file.with({ scheme: 'untitled' });
  const editor = await vscode.window.showTextDocument(uri);
  if (!there) {
    await editor.edit((edit) =>
      edit.insert(new vscode.Position(0, 0), '[model]\n# model = "anthropic/NAME"\n'),
    );
  }
}

/** Variables that VS Code and its server remove from their own terminals. */
const OF_THE_EDITOR = /^((ELECTRON|VSCODE|GDK_PIXBUF|CODE_SERVER|CS)_|SNAP(_|$))/;
/** Variables that name helpers of the editor, which fail without its other variables. */
const HELPERS = ['GIT_ASKPASS', 'BROWSER'];
/** Variables that set the daemon's settings, state and model, and which servers it trusts with a key. */
const OF_THE_PERSON =
  /^((MEANWHILE|ANTHROPIC|OPENAI)_.*|XDG_(CONFIG|STATE)_HOME|HOME|SSL_CERT_(FILE|DIR))$/;

/** The environment of the daemon and its tasks: without the editor's variables, with those for terminals. */
export function taskEnvironment(folder: vscode.WorkspaceFolder): NodeJS.ProcessEnv {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !OF_THE_EDITOR.test(name)),
  );
  const askpass = process.env.VSCODE_GIT_ASKPASS_MAIN;
  const inside = [vscode.env.appRoot, ...(askpass ? [join(askpass, '..')] : [])];
  for (const name of HELPERS) {
    if (inside.some((place) => env[name]?.startsWith(place))) delete env[name];
  }
  // The person's variables for terminals apply to tasks too.
  const config = vscode.workspace.getConfiguration('terminal.integrated.env', folder.uri);
  const all = Object.entries(config.get<Record<string, unknown>>('linux', {}));
  const own = config.inspect<Record<string, unknown>>('linux')?.globalValue ?? {};
  // The daemon gets the person's key: workspace files must not choose the server that receives it.
  const set = [
    ...all.filter(([name]) => !OF_THE_PERSON.test(name)),
    ...Object.entries(own).filter(([name]) => OF_THE_PERSON.test(name)),
  ];
  for (const [name, value] of set) {
    if (typeof value !== 'string') delete env[name];
    else {
      env[name] = value.replace(/\$\{(?:env:(\w+)|(workspaceFolder))\}/g, (_, variable) =>
        variable ? (process.env[variable] ?? '') : folder.uri.fsPath,
      );
    }
  }
  return env;
}
