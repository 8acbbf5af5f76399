// The daemon of one workspace folder: starts it, talks to it, restarts it when it dies. Owns the language client
// and the child process. Keeps no task state: its users fetch that again at each `onDidConnect`. Shows no message
// itself; `onDidFail` reports each failure once.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import * as vscode from 'vscode';
import {
  CloseAction,
  type DynamicFeature,
  ErrorAction,
  ExecuteCommandRequest,
  type InitializeParams,
  LanguageClient,
  RevealOutputChannelOn,
  State,
  type StaticFeature,
} from 'vscode-languageclient/node';
import {
  type Capability,
  type Methods,
  PROTOCOL_VERSION,
  type Pushes,
  type ServerRequests,
} from '../protocol/generated';
import { type Binary, originInWords } from './binary';
import { without } from './secrets';

export type DaemonState =
  | { kind: 'starting' }
  | { kind: 'running'; binary: Binary; pid: number | undefined }
  | { kind: 'failed'; reason: string }
  | { kind: 'stopped' };

/** After this many unexpected exits within `FAILING_WITHIN_MS`, only a person can restart it. */
const GIVE_UP_AFTER = 5;
const FAILING_WITHIN_MS = 180_000;
/** How many lines of the daemon's standard error are kept, to report why it died. */
const LAST_WORDS = 5;
/** How long a daemon may take to shut down when the window closes. */
const STOP_TIMEOUT_MS = 2_000;

type RequestHandler = (params: never, token: vscode.CancellationToken) => unknown;

export interface Settings {
  /** The queue of tasks that are spawned without naming one. */
  queue: string;
  /** How long tasks outlive the last daemon; null: forever. */
  lingerMs: number | null;
  /** Variables that name the model and hold its keys. Never logged. */
  secrets: { [name: string]: string };
}

/** A feature that this extension needs and older daemons lack, as named in `features`. */
const NEEDED = 'session/turn.prompt';

export class Daemon implements vscode.Disposable {
  private client: LanguageClient | undefined;
  private process: ChildProcess | undefined;
  private current: DaemonState = { kind: 'stopped' };
  private starting: Promise<void> | undefined;
  private ends: number[] = [];
  private lastWords: string[] = [];
  private generation = 0;
  private disposed = false;

  private readonly stateEmitter = new vscode.EventEmitter<DaemonState>();
  private readonly connectEmitter = new vscode.EventEmitter<void>();
  private readonly failEmitter = new vscode.EventEmitter<string>();
  private readonly pushHandlers = new Map<string, ((params: never) => void)[]>();
  private readonly requestHandlers = new Map<string, RequestHandler>();

  readonly onDidChangeState = this.stateEmitter.event;
  /** A daemon has connected, the first or a new one: fetch what you show. */
  readonly onDidConnect = this.connectEmitter.event;
  /** The daemon cannot be started, or keeps exiting; the text names the setting and the fix. */
  readonly onDidFail = this.failEmitter.event;

  constructor(
    readonly folder: vscode.WorkspaceFolder,
    private readonly log: vscode.LogOutputChannel,
    private readonly locate: () => Promise<Binary>,
    private readonly settings: () => Promise<Settings>,
    private readonly environment: () => NodeJS.ProcessEnv,
  ) {}

  get state(): DaemonState {
    return this.current;
  }

  get capability(): Capability | undefined {
    const experimental = this.client?.initializeResult?.capabilities.experimental as
      | { meanwhile?: Capability }
      | undefined;
    return experimental?.meanwhile;
  }

  /** The last lines that the daemon has written to standard error; empty if all is well. */
  get said(): readonly string[] {
    return this.lastWords;
  }

  can(method: string): boolean {
    return this.capability?.methods.includes(method) ?? false;
  }

  /** Whether the daemon has a later addition: `method.parameter` or `Object.member`. */
  has(feature: string): boolean {
    // Version 0.1.0 sends no `features`.
    return this.capability?.features?.includes(feature) ?? false;
  }

  /** Handlers outlive the connection. Register them before `start`. */
  onPush<P extends keyof Pushes>(method: P, handler: (params: Pushes[P]) => void): void {
    this.pushHandlers.set(method, [
      ...(this.pushHandlers.get(method) ?? []),
      handler as (params: never) => void,
    ]);
  }

  /** Sets the handler of a request that the daemon sends. */
  onRequest<M extends keyof ServerRequests>(
    method: M,
    handler: (
      params: ServerRequests[M]['params'],
      token: vscode.CancellationToken,
    ) => Promise<ServerRequests[M]['result']>,
  ): void {
    this.requestHandlers.set(method, handler as RequestHandler);
  }

  /** Starts the daemon, or waits for a start in progress. Does not throw: see `state`. */
  start(): Promise<void> {
    if (this.disposed || this.current.kind === 'running') return Promise.resolve();
    this.starting ??= this.launch().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  /** Stops the daemon, if it runs, and starts another. Tasks keep running. */
  async restart(): Promise<void> {
    await this.starting;
    this.ends = [];
    await this.stop();
    await this.start();
  }

  async request<M extends keyof Methods>(
    method: M,
    params: Methods[M]['params'],
    token?: vscode.CancellationToken,
  ): Promise<Methods[M]['result']> {
    // After a failure only a person starts it again, not every view that sends a request.
    if (this.current.kind !== 'failed') await this.start();
    const client = this.client;
    if (this.current.kind === 'failed') throw new Error(this.current.reason);
    if (!client || this.current.kind !== 'running') throw new Error('the daemon is not running');
    return token
      ? client.sendRequest<Methods[M]['result']>(method, params, token)
      : client.sendRequest<Methods[M]['result']>(method, params);
  }

  async notify<M extends keyof Methods>(method: M, params: Methods[M]['params']): Promise<void> {
    await this.client?.sendNotification(method, params);
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await this.stop();
    this.stateEmitter.dispose();
    this.connectEmitter.dispose();
    this.failEmitter.dispose();
  }

  private async launch(): Promise<void> {
    this.enter({ kind: 'starting' });
    const generation = ++this.generation;
    try {
      const binary = await this.locate();
      if (this.disposed) return;
      this.log.info(
        `${this.folder.name}: using ${binary.path}, version ${binary.version}, ${originInWords(binary)}`,
      );
      const settings = await this.settings();
      const process = await this.spawn(binary);
      this.process = process;
      // Disposed during the start: no other code will stop the new process.
      if (this.disposed) return this.kill();
      const client = this.makeClient(process, generation, settings);
      this.client = client;
      await client.start();
      if (this.disposed) return;
      const protocol = this.capability?.protocolVersion;
      if (protocol !== PROTOCOL_VERSION || !this.has(NEEDED)) {
        await this.stop();
        const spoken = protocol === PROTOCOL_VERSION ? `${protocol} without ${NEEDED}` : protocol;
        throw new Error(
          `${binary.path} speaks protocol ${spoken ?? 'unknown'}, this extension speaks ${PROTOCOL_VERSION}. Set meanwhile.path to a matching version, or clear it.`,
        );
      }
      this.enter({ kind: 'running', binary, pid: process.pid });
      this.connectEmitter.fire();
    } catch (error) {
      const words = this.lastWords.length > 0 ? ` It said: ${this.lastWords.join(' ')}` : '';
      this.client = undefined;
      this.kill();
      this.fail(`${(error as Error).message}${words}`);
    }
  }

  private async spawn(binary: Binary): Promise<ChildProcess> {
    this.lastWords = [];
    const cwd = this.folder.uri.fsPath;
    await access(cwd).catch(() => {
      throw new Error(
        `The folder ${cwd} does not exist. Create it again, or remove it from the workspace.`,
      );
    });
    const child = spawn(binary.path, ['serve'], {
      cwd,
      env: this.environment(),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // A daemon that exits breaks the pipe of the last write; `exit` reports the exit itself.
    child.stdin.on('error', () => undefined);
    await Promise.race([
      once(child, 'spawn'),
      once(child, 'error').then(([error]) => {
        throw new Error(
          `${binary.path} cannot be started (${(error as Error).message}). Set meanwhile.path to a program that can, or clear it.`,
        );
      }),
    ]);
    child.on('error', (error) => this.log.error(error));
    return child;
  }

  private makeClient(
    process: ChildProcess,
    generation: number,
    settings: Settings,
  ): LanguageClient {
    const client = new FolderClient('meanwhile', 'Meanwhile', async () => process, {
      // The daemon serves no documents; only LSP's framing, handshake and progress are used.
      documentSelector: [],
      workspaceFolder: this.folder,
      outputChannel: this.log,
      traceOutputChannel: hiding(this.log, settings.secrets),
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationOptions: { ...settings, notify: ['timeline', 'state'] },
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        // `ended` starts another daemon, so that a failure is reported only once.
        closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
      },
      stdioOptions: {
        stdout: () => undefined,
        stderr: (stream) => {
          stream.setEncoding('utf8');
          stream.on('data', (text: string) => {
            for (const line of text.split('\n').filter((line) => line.trim() !== '')) {
              this.log.warn(`${this.folder.name}: ${line}`);
              this.lastWords = [...this.lastWords, line].slice(-LAST_WORDS);
            }
          });
        },
      },
    });
    for (const [method, handlers] of this.pushHandlers) {
      client.onNotification(method, (params) => {
        for (const handler of handlers) handler(params as never);
      });
    }
    for (const [method, handler] of this.requestHandlers) {
      client.onRequest(method, (params, token) => handler(params as never, token));
    }
    client.onDidChangeState(({ oldState, newState }) => {
      const ours = generation === this.generation && this.client === client;
      if (ours && oldState === State.Running && newState === State.Stopped) {
        this.ended(process);
      }
    });
    return client;
  }

  /** The daemon exited unexpectedly. */
  private async ended(process: ChildProcess): Promise<void> {
    if (this.disposed || this.current.kind !== 'running') return;
    this.client = undefined;
    this.enter({ kind: 'starting' });
    if (process.exitCode === null && process.signalCode === null) {
      // The pipe closes before the process is reaped; wait a moment to learn how it exited.
      await Promise.race([once(process, 'exit'), delay(1_000)]);
    }
    const how = process.signalCode ? `by ${process.signalCode}` : `with code ${process.exitCode}`;
    this.log.warn(`${this.folder.name}: the daemon ended ${how}; tasks go on`);
    const now = Date.now();
    this.ends = [...this.ends.filter((at) => now - at < FAILING_WITHIN_MS), now];
    if (this.ends.length >= GIVE_UP_AFTER) {
      const words =
        this.lastWords.length > 0 ? ` Its last output: ${this.lastWords.join(' ')}` : '';
      this.fail(
        `The meanwhile daemon of ${this.folder.name} ended ${this.ends.length} times in three minutes, the last time ${how}.${words} Tasks go on. Try again, or set meanwhile.path to another version.`,
      );
      return;
    }
    await this.start();
  }

  private async stop(): Promise<void> {
    this.generation++;
    const client = this.client;
    this.client = undefined;
    if (client) {
      try {
        await client.dispose(STOP_TIMEOUT_MS);
      } catch (error) {
        this.log.debug(`stopping: ${(error as Error).message}`);
      }
    }
    this.kill();
    if (this.current.kind !== 'stopped') this.enter({ kind: 'stopped' });
  }

  /** Closes the daemon's stdin, so that it exits; kills it if it does not. */
  private kill(): void {
    const process = this.process;
    this.process = undefined;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    process.stdin?.end();
    const timer = setTimeout(() => process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    process.once('exit', () => clearTimeout(timer));
  }

  private fail(reason: string): void {
    if (this.disposed) return;
    this.log.error(`${this.folder.name}: ${reason}`);
    this.enter({ kind: 'failed', reason });
    this.failEmitter.fire(reason);
  }

  private enter(state: DaemonState): void {
    this.current = state;
    if (!this.disposed) this.stateEmitter.fire(state);
  }
}

/** A client that names only its own folder: the daemon takes the first one as its workspace. */
class FolderClient extends LanguageClient {
  /**
   * The daemon offers commands for clients that can send nothing else. Registered in VS Code they
   * would clash with the extension's, and with those of another folder's daemon.
   */
  override registerFeature(feature: StaticFeature | DynamicFeature<unknown>): void {
    const type = 'registrationType' in feature ? feature.registrationType : undefined;
    if (type?.method !== ExecuteCommandRequest.method) super.registerFeature(feature);
  }

  protected override fillInitializeParams(params: InitializeParams): void {
    super.fillInitializeParams(params);
    // The extension's status bar item shows a task's progress; VS Code's would be a second one.
    params.capabilities.window = { ...params.capabilities.window, workDoneProgress: false };
    const folder = this.clientOptions.workspaceFolder;
    if (folder) {
      params.workspaceFolders = [
        { uri: this.code2ProtocolConverter.asUri(folder.uri), name: folder.name },
      ];
    }
  }
}

/** The log for traces, without the secrets: a trace contains the handshake, and so the keys. */
function hiding(log: vscode.LogOutputChannel, secrets: Settings['secrets']) {
  const trace = (message: string) => log.trace(without(secrets, message));
  return new Proxy(log, {
    get: (target, name) => (name === 'trace' ? trace : Reflect.get(target, name)),
  });
}

/** The protocol's error code (`ERRORS`); undefined if the error is not a response. */
export function errorCode(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'number' ? code : undefined;
}
