// Replaces `vscode` and its language client in the unit tests. A test sets what it needs.

import { vi } from 'vitest';

export class EventEmitter<T> {
  private readonly listeners = new Set<(value: T) => unknown>();
  readonly event = (listener: (value: T) => unknown) => {
    this.listeners.add(listener);
    return new Disposable(() => this.listeners.delete(listener));
  };
  fire(value: T): void {
    for (const listener of [...this.listeners]) listener(value);
  }
  dispose(): void {
    this.listeners.clear();
  }
}

export class Disposable {
  constructor(readonly dispose: () => unknown) {}
  static from(...all: { dispose(): unknown }[]): Disposable {
    return new Disposable(() => all.map((one) => one.dispose()));
  }
}

const never = () => new Disposable(() => undefined);

export const window = {
  state: { focused: true },
  activeTerminal: undefined as unknown,
  tabGroups: { all: [], close: async () => true },
  showQuickPick: vi.fn(),
  showInputBox: vi.fn(),
  showWarningMessage: vi.fn(async (..._: unknown[]): Promise<string | undefined> => undefined),
  showInformationMessage: vi.fn(async (..._: unknown[]): Promise<string | undefined> => undefined),
  showErrorMessage: vi.fn(async (..._: unknown[]): Promise<string | undefined> => undefined),
  createTerminal: vi.fn(),
  createOutputChannel: vi.fn(),
  registerTerminalLinkProvider: never,
  registerWebviewViewProvider: never,
  onDidChangeActiveTerminal: vi.fn(never),
  onDidChangeWindowState: vi.fn(never),
};

/** The settings by section: their effective values, and those of the person. */
export const settings = new Map<string, { [name: string]: unknown }>();
export const personal = new Map<string, { [name: string]: unknown }>();

export const workspace = {
  getConfiguration: (section: string) => ({
    get: (name: string, otherwise: unknown) => settings.get(section)?.[name] ?? otherwise,
    inspect: (name: string) => ({ globalValue: personal.get(section)?.[name] }),
  }),
  registerFileSystemProvider: never,
  registerTextDocumentContentProvider: never,
  textDocuments: [] as unknown[],
  onDidCloseTextDocument: vi.fn((_: (document: { uri: unknown }) => void) => never()),
  onDidChangeConfiguration: never,
  onDidGrantWorkspaceTrust: never,
};
export const tasks = { registerTaskProvider: never };

export const registered = new Map<string, (...args: unknown[]) => Promise<unknown>>();
export const commands = {
  registerCommand: (name: string, work: (...args: unknown[]) => Promise<unknown>) => {
    registered.set(name, work);
    return never();
  },
  executeCommand: vi.fn(async () => undefined),
};

export const env = { appRoot: '/editor' };
export const Uri = {
  from: ({ scheme, path }: { scheme: string; path: string }) => ({
    scheme,
    path,
    toString: () => `${scheme}:${path}`,
  }),
};
export const FileChangeType = { Changed: 1 };
export const FileSystemError = {
  FileNotFound: (uri: unknown) => new Error(`there is no ${uri}`),
};
export class ThemeIcon {}
export class TerminalLink {}
export class TreeItem {}
export class ThemeColor {}
export class MarkdownString {}
export enum ExtensionMode {
  Production = 1,
  Development = 2,
  Test = 3,
}
export class LanguageClient {}
