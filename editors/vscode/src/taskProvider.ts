// Tasks of tasks.json that run in the daemon: `{"type": "meanwhile", "command": "cargo build"}`.
// VS Code shows such a task like any other and applies its own problem matchers to the terminal;
// the command itself outlives the window.

import * as vscode from 'vscode';
import type { Folder, Folders } from './folders';
import { TaskTerminal, unseenSize } from './output/terminal';
import type { SpawnParams } from './protocol/generated';

export const TASK_TYPE = 'meanwhile';
/**
 * A closing window closes its terminals before it deactivates the extension. So a task whose terminal
 * was closed is stopped only after this time, unless the window is gone by then.
 */
const STOP_AFTER_CLOSE_MS = 1_500;

/** Members of a task definition that `task/spawn` has under the same names. */
const SPAWNED = ['cwd', 'env', 'deadlineMs', 'slot', 'on'] as const;

export interface MeanwhileTaskDefinition
  extends vscode.TaskDefinition,
    Pick<SpawnParams, (typeof SPAWNED)[number] | 'command' | 'label'> {
  terminal?: boolean;
  detach?: boolean;
}

export class TaskProvider implements vscode.TaskProvider {
  constructor(private readonly folders: Folders) {}

  /** Detects no tasks: a person decides what runs in the background. */
  provideTasks(): vscode.Task[] {
    return [];
  }

  resolveTask(task: vscode.Task): vscode.Task | undefined {
    const definition = task.definition as MeanwhileTaskDefinition;
    const { command } = definition;
    if (command === undefined || command.length === 0) return undefined;
    const scope = task.scope ?? vscode.TaskScope.Workspace;
    const resolved = new vscode.Task(
      definition,
      scope,
      task.name,
      TASK_TYPE,
      // In the definition given here the variables (`${file}`) are replaced.
      new vscode.CustomExecution(async (definition) => {
        const folder =
          typeof scope === 'object' ? this.folders.of(scope.uri) : this.folders.all()[0];
        if (!folder) throw new Error('open a folder to run a command in its background');
        return new SpawningTerminal(
          folder,
          this.folders,
          definition as MeanwhileTaskDefinition,
          task.name,
        );
      }),
      task.problemMatchers,
    );
    resolved.presentationOptions = task.presentationOptions;
    resolved.isBackground = task.isBackground;
    return resolved;
  }
}

/** Spawns the task when the terminal opens, since its size is unknown before. */
class SpawningTerminal implements vscode.Pseudoterminal {
  private readonly writeEmitter = new vscode.EventEmitter<string>();
  private readonly closeEmitter = new vscode.EventEmitter<number>();
  readonly onDidWrite = this.writeEmitter.event;
  readonly onDidClose = this.closeEmitter.event;
  private inner: TaskTerminal | undefined;
  private size: vscode.TerminalDimensions | undefined;
  private id: string | undefined;
  private ended = false;
  private closed = false;

  constructor(
    private readonly folder: Folder,
    private readonly folders: Folders,
    private readonly definition: MeanwhileTaskDefinition,
    private readonly name: string,
  ) {}

  async open(size: vscode.TerminalDimensions | undefined): Promise<void> {
    this.size = size;
    try {
      const task = await this.folder.spawn(spawnParams(this.definition, this.name, size));
      this.id = task.id;
      this.inner = new TaskTerminal(this.folder, task.id, this.folders.events, {
        closeWithTask: true,
      });
      this.inner.onDidWrite((text) => this.writeEmitter.fire(text));
      this.inner.onDidClose((code) => {
        this.ended = true;
        this.closeEmitter.fire(code ?? 1);
      });
      this.inner.open(this.size);
      if (this.closed) this.close();
    } catch (error) {
      this.writeEmitter.fire(`${(error as Error).message}\r\n`);
      this.ended = true;
      this.closeEmitter.fire(1);
    }
  }

  close(): void {
    this.closed = true;
    const { id } = this;
    this.inner?.close();
    if (id === undefined || this.ended || this.definition.detach) return;
    setTimeout(() => {
      // After a reload, or when the window closes, its daemon has exited, and the task keeps running.
      if (this.folder.daemon.state.kind === 'running') {
        this.folder.stop(id).catch(() => undefined);
      }
    }, STOP_AFTER_CLOSE_MS);
  }

  handleInput(data: string): void {
    this.inner?.handleInput(data);
  }

  setDimensions(size: vscode.TerminalDimensions): void {
    // VS Code may call this before the task exists.
    this.size = size;
    this.inner?.setDimensions(size);
  }
}

function spawnParams(
  definition: MeanwhileTaskDefinition,
  name: string,
  size: vscode.TerminalDimensions | undefined,
): SpawnParams {
  const given = SPAWNED.filter((member) => definition[member] !== undefined);
  return {
    ...Object.fromEntries(given.map((member) => [member, definition[member]])),
    command: definition.command,
    label: definition.label ?? name,
    ...((definition.terminal ?? true)
      ? { pty: size ? { rows: size.rows, cols: size.columns } : unseenSize() }
      : { stdin: 'pipe' as const }),
  };
}
