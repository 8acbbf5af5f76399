// Tools for other agents in VS Code: spawn, check, drain. They return the daemon's words, and use a
// queue of their own, so that they never take another agent's results.

import * as vscode from 'vscode';
import type { Folder, Folders } from './folders';
import { plain } from './output/ansi';
import type { Task } from './protocol/generated';
import { cut, elapsed, oneLine } from './tasks/describe';

/** The queue of agents that use these tools. */
export const LM_QUEUE = 'vscode-agent';
const TAIL_BYTES = 4_096;
/** The maximum number of tasks in a list for a model; the rest are only counted. */
const LISTED = 50;

export interface SpawnInput {
  command: string;
  cwd?: string;
  label?: string;
  deadlineMs?: number;
}
export interface CheckInput {
  id?: string;
  waitMs?: number;
  tailBytes?: number;
}
export interface DrainInput {
  max?: number;
}

export function registerTools(folders: Folders): vscode.Disposable {
  const active = (): Folder => {
    const folder = folders.of(vscode.window.activeTextEditor?.document.uri) ?? folders.all()[0];
    if (!folder) throw new Error('no folder is open: background commands run in a folder');
    return folder;
  };
  return vscode.Disposable.from(
    vscode.lm.registerTool<SpawnInput>('meanwhile_spawn', {
      prepareInvocation: ({ input }) => ({
        invocationMessage: `Starting \`${cut(oneLine(input.command), 80)}\` in the background`,
        confirmationMessages: {
          title: 'Run in the background?',
          message: new vscode.MarkdownString().appendCodeblock(input.command, 'sh'),
        },
      }),
      invoke: async ({ input }) => {
        const { command, cwd, label, deadlineMs } = input;
        const task = await active().spawn({
          command,
          queue: LM_QUEUE,
          ...(cwd === undefined ? {} : { cwd }),
          ...(label === undefined ? {} : { label }),
          ...(deadlineMs === undefined ? {} : { deadlineMs }),
        });
        return text(
          `[bg:${task.id}] started: ${oneLine(command)}\nIt runs in the background; meanwhile_drain reports when it has finished.`,
        );
      },
    }),
    vscode.lm.registerTool<CheckInput>('meanwhile_check', {
      prepareInvocation: ({ input }) => ({
        invocationMessage: input.waitMs
          ? `Waiting for background task ${input.id ?? ''}`
          : 'Looking at background tasks',
      }),
      invoke: async ({ input }, token) => text(await check(folders, active, input, token)),
    }),
    vscode.lm.registerTool<DrainInput>('meanwhile_drain', {
      prepareInvocation: () => ({ invocationMessage: 'Taking background results' }),
      invoke: async ({ input }, token) => text(await drain(folders, input.max ?? 20, token)),
    }),
  );
}

async function check(
  folders: Folders,
  active: () => Folder,
  input: CheckInput,
  token: vscode.CancellationToken,
): Promise<string> {
  const { id, waitMs = 0, tailBytes = TAIL_BYTES } = input;
  if (id === undefined) {
    if (waitMs > 0) {
      await active().daemon.request('task/wait', { queue: LM_QUEUE, timeoutMs: waitMs }, token);
    }
    const tasks = folders.all().flatMap((folder) => folder.store.all());
    if (tasks.length === 0) return 'No background tasks.';
    const more = tasks.length > LISTED ? [`and ${tasks.length - LISTED} more`] : [];
    return [...tasks.slice(0, LISTED).map(headline), ...more].join('\n');
  }
  const folder = folders.find(id)?.folder ?? active();
  if (waitMs > 0) {
    await folder.daemon.request('task/wait', { ids: [id], timeoutMs: waitMs }, token);
  }
  const result = await folder.daemon.request('task/check', { id, tailBytes }, token);
  if (!('task' in result)) throw new Error('the daemon answered with a list, expected one task');
  const tail = plain(result.tail.text);
  const omitted = result.tail.offset > 0 ? `... ${result.tail.offset} bytes before this ...\n` : '';
  return `${headline(result.task)}\n${omitted}${tail}`;
}

async function drain(
  folders: Folders,
  max: number,
  token: vscode.CancellationToken,
): Promise<string> {
  const parts: string[] = [];
  let remaining = 0;
  for (const folder of folders.all()) {
    const left = max - parts.length;
    if (left <= 0) break;
    // Acknowledged only once received, so that no result is lost if this window dies in between.
    const result = await folder.daemon.request(
      'task/drain',
      { queue: LM_QUEUE, max: left, ack: 'manual' },
      token,
    );
    remaining += result.remaining;
    for (const { task, kind, preview, match } of result.notifications) {
      const omitted =
        preview.omitted > 0
          ? `\n... ${preview.omitted} bytes omitted; meanwhile_check("${task.id}") has the end ...\n`
          : '';
      const what =
        kind === 'matched'
          ? `[bg:${task.id}] printed: ${match?.line ?? ''}`
          : kind === 'stalled'
            ? `[bg:${task.id}] waits for input: ${oneLine(task.command)}`
            : headline(task);
      parts.push(`${what}\n${plain(preview.head)}${omitted}${plain(preview.tail)}`.trimEnd());
    }
    const last = result.notifications.at(-1);
    if (last) {
      await folder.daemon.request('task/ack', { queue: LM_QUEUE, through: last.seq });
    }
  }
  if (parts.length === 0) {
    const running = folders
      .all()
      .flatMap((folder) => folder.store.running())
      .filter((task) => task.queue === LM_QUEUE).length;
    return running === 0
      ? 'Nothing has finished and nothing runs.'
      : `Nothing has finished; ${running} running.`;
  }
  const more = remaining > 0 ? [`${remaining} more are waiting: call again.`] : [];
  return [...parts, ...more].join('\n\n');
}

/** `[bg:b3f9c2a1] exited 0 after 1m 32s: npm install` */
function headline(task: Task): string {
  const runs = `${task.shown.stands} for ${elapsed(Date.now() - Date.parse(task.createdAt))}`;
  return `[bg:${task.id}] ${task.shown.ended ?? runs}: ${oneLine(task.command)}`;
}

function text(value: string): vscode.LanguageModelToolResult {
  return new vscode.LanguageModelToolResult([new vscode.LanguageModelTextPart(value)]);
}
