// Which model the agents of this user ask, and with which key: chosen here, kept in VS Code's secret
// storage, given to each daemon at its start, and written nowhere else.

import { homedir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';

/** Variables of the daemon's settings and their values. */
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
    // The windows of a person share the storage: what one of them sets is told to all, itself too.
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
    // Without it a model of the environment would go on to be asked for, and not of this server.
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

/** The program's own settings, of which those of a model are a part; nothing is written until it is saved. */
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

/** What VS Code keeps from its own terminals, and its server's. */
const OF_THE_EDITOR = /^((ELECTRON|VSCODE|GDK_PIXBUF|CODE_SERVER|CS)_|SNAP(_|$))/;
/** Helpers of the editor's terminals, which fail without its variables. */
const HELPERS = ['GIT_ASKPASS', 'BROWSER'];
/** Where the daemon finds its settings, its state, its model and whom it trusts with a key. */
const OF_THE_PERSON =
  /^((MEANWHILE|ANTHROPIC|OPENAI)_.*|XDG_(CONFIG|STATE)_HOME|HOME|SSL_CERT_(FILE|DIR))$/;

/** What the daemon and its tasks have: nothing of the editor, and what is set for terminals. */
export function taskEnvironment(folder: vscode.WorkspaceFolder): NodeJS.ProcessEnv {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !OF_THE_EDITOR.test(name)),
  );
  const askpass = process.env.VSCODE_GIT_ASKPASS_MAIN;
  const inside = [vscode.env.appRoot, ...(askpass ? [join(askpass, '..')] : [])];
  for (const name of HELPERS) {
    if (inside.some((place) => env[name]?.startsWith(place))) delete env[name];
  }
  // What a person has set for terminals holds here too: a task is a terminal that stays.
  const config = vscode.workspace.getConfiguration('terminal.integrated.env', folder.uri);
  const all = Object.entries(config.get<Record<string, unknown>>('linux', {}));
  const own = config.inspect<Record<string, unknown>>('linux')?.globalValue ?? {};
  // The daemon gets the person's key: a file of the workspace does not say who is asked with it.
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
