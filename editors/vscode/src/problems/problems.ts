// Problems in the output of finished tasks. Owns the diagnostics and the choice of matchers; `matcher.ts`
// does the matching. A new run of a command replaces the problems of the last.

import { stat } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as vscode from 'vscode';
import type { Folder, Folders } from '../folders';
import { plain } from '../output/ansi';
import { readAll } from '../output/document';
import type { Task } from '../protocol/generated';
import {
  type Contributions,
  contributedMatchers,
  findProblems,
  type Matcher,
  type Problem,
} from './matcher';

export class Problems implements vscode.Disposable {
  private readonly subscriptions: vscode.Disposable[] = [];
  /** One collection per command of a folder, so that a new run clears the last. */
  private readonly byCommand = new Map<string, vscode.DiagnosticCollection>();

  constructor(
    folders: Folders,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.subscriptions.push(
      folders.events.ended.event(({ folder, notification }) => {
        const { task } = notification;
        const names = matcherNames(folder, task.command);
        if (names.length > 0) this.find(folder, task, names).catch((error) => log.warn(error));
      }),
    );
  }

  /** Reads the output with the named matchers; returns how many problems there are. */
  async find(folder: Folder, task: Task, names: string[]): Promise<number> {
    const all = matchers();
    const text = plain(await readAll(folder, task.id));
    const found = new Map<string, vscode.Diagnostic[]>();
    let count = 0;
    for (const name of names) {
      // Resolve each file once: compilers report many problems in few files.
      const paths = new Map<string, string>();
      const matcher = all.get(name.replace(/^\$/, ''));
      if (!matcher) {
        this.log.warn(`no installed extension has a problem matcher named ${name}`);
        continue;
      }
      for (const problem of findProblems(text, matcher)) {
        const path =
          paths.get(problem.file) ?? (await locateFile(problem.file, matcher, folder, task));
        paths.set(problem.file, path);
        const there = found.get(path) ?? [];
        there.push(diagnostic(problem, matcher));
        found.set(path, there);
        count++;
      }
    }
    const key = `${folder.workspaceFolder.uri}\n${task.command}`;
    let collection = this.byCommand.get(key);
    if (!collection && count === 0) return 0;
    collection ??= vscode.languages.createDiagnosticCollection('meanwhile');
    this.byCommand.set(key, collection);
    collection.clear();
    collection.set([...found].map(([path, list]) => [vscode.Uri.file(path), list]));
    return count;
  }

  clear(): void {
    for (const collection of this.byCommand.values()) collection.dispose();
    this.byCommand.clear();
  }

  dispose(): void {
    this.clear();
    for (const subscription of this.subscriptions) subscription.dispose();
  }
}

/** The matchers of the extensions that are installed at the time of the call. */
export function matchers(): Map<string, Matcher> {
  return contributedMatchers(
    vscode.extensions.all.map(
      (extension) => (extension.packageJSON as { contributes?: Contributions }).contributes ?? {},
    ),
  );
}

function matcherNames(folder: Folder, command: string): string[] {
  const setting = vscode.workspace
    .getConfiguration('meanwhile', folder.workspaceFolder.uri)
    .get<Record<string, string | string[]>>('problemMatchers', {});
  const names = Object.entries(setting)
    .filter(([pattern]) => {
      try {
        return new RegExp(pattern).test(command);
      } catch {
        return false;
      }
    })
    .flatMap(([, value]) => value);
  return [...new Set(names)];
}

async function locateFile(
  file: string,
  matcher: Matcher,
  folder: Folder,
  task: Task,
): Promise<string> {
  const path = file.startsWith('file:') ? fileURLToPath(file) : file;
  if (isAbsolute(path) || matcher.location === 'absolute') return normalize(path);
  // Most tools print paths relative to the task's directory; the matcher's folder comes second.
  const root = folder.workspaceFolder.uri.fsPath;
  const base = matcher.base
    ?.replaceAll(/\$\{workspace(Folder|Root)\}/g, root)
    .replaceAll(/\$\{cwd\}/g, task.cwd);
  const candidates = [task.cwd, ...(base ? [base] : []), root].map((from) => join(from, path));
  for (const candidate of candidates) {
    if (
      await stat(candidate).then(
        () => true,
        () => false,
      )
    )
      return candidate;
  }
  return candidates[0] ?? path;
}

function diagnostic(problem: Problem, matcher: Matcher): vscode.Diagnostic {
  const line = problem.line - 1;
  const start = new vscode.Position(line, Math.max(0, (problem.column ?? 1) - 1));
  const end =
    problem.endLine !== undefined || problem.endColumn !== undefined
      ? new vscode.Position(
          Math.max(line, (problem.endLine ?? problem.line) - 1),
          Math.max(0, (problem.endColumn ?? 1) - 1),
        )
      : problem.column === undefined
        ? new vscode.Position(line, Number.MAX_SAFE_INTEGER)
        : start;
  const result = new vscode.Diagnostic(
    new vscode.Range(start, end),
    problem.message,
    {
      error: vscode.DiagnosticSeverity.Error,
      warning: vscode.DiagnosticSeverity.Warning,
      info: vscode.DiagnosticSeverity.Information,
    }[problem.severity],
  );
  result.source = matcher.source ?? matcher.owner;
  if (problem.code !== undefined) result.code = problem.code;
  return result;
}
