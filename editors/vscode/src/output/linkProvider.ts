// Links to files, with their lines, in the output of tasks. Paths are relative to the task's directory,
// which VS Code's own terminal does not know.

import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import * as vscode from 'vscode';
import type { Folders } from '../folders';
import { fileLinks } from './links';
import type { Terminals } from './terminal';

/** A line with more candidates than this is a dump, not a message. */
const CANDIDATES_MAX = 20;

export class FileLink extends vscode.TerminalLink {
  constructor(
    start: number,
    length: number,
    readonly path: string,
    readonly line: number | undefined,
    readonly column: number | undefined,
  ) {
    super(start, length, 'Open file');
  }
}

export class OutputLinks implements vscode.TerminalLinkProvider<FileLink> {
  constructor(
    private readonly folders: Folders,
    private readonly terminals: Terminals,
  ) {}

  async provideTerminalLinks(context: vscode.TerminalLinkContext): Promise<FileLink[]> {
    const id = this.terminals.taskOf(context.terminal);
    const ref = id === undefined ? undefined : this.folders.find(id);
    const cwd = ref?.folder.store.get(ref.id)?.cwd;
    if (cwd === undefined) return [];
    const links: FileLink[] = [];
    for (const link of fileLinks(context.line).slice(0, CANDIDATES_MAX)) {
      const path = link.path.startsWith('~/')
        ? join(homedir(), link.path.slice(2))
        : isAbsolute(link.path)
          ? link.path
          : resolve(cwd, link.path);
      if (await isFile(path)) {
        links.push(new FileLink(link.start, link.length, path, link.line, link.column));
      }
    }
    return links;
  }

  async handleTerminalLink(link: FileLink): Promise<void> {
    const at = new vscode.Position(
      Math.max(0, (link.line ?? 1) - 1),
      Math.max(0, (link.column ?? 1) - 1),
    );
    await vscode.window.showTextDocument(vscode.Uri.file(link.path), {
      selection: new vscode.Range(at, at),
    });
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
