// Changes that the agent proposes or has made, in the diff editor. The proposed side is a document in memory, which a
// person edits like any other: VS Code's own arrows between the sides take a part back. Nothing here writes a file.

import { posix } from 'node:path';
import * as vscode from 'vscode';
import type { Diff } from '../protocol/generated';

export const CHANGE_SCHEME = 'meanwhile-change';

interface Text {
  data: Uint8Array;
  editable: boolean;
  mtime: number;
}

export class Changes implements vscode.FileSystemProvider, vscode.Disposable {
  private readonly texts = new Map<string, Text>();
  private readonly proposals = new Map<number, { change: Diff; uri: vscode.Uri }>();
  private readonly emitter = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.emitter.event;
  private readonly registration = vscode.workspace.registerFileSystemProvider(CHANGE_SCHEME, this);
  private time = 1;

  dispose(): void {
    this.registration.dispose();
    this.emitter.dispose();
  }

  /** Shows what is asked, to be edited. Shown again it is as the person left it. */
  async propose(key: number, change: Diff): Promise<void> {
    let uri = this.proposals.get(key)?.uri;
    if (!uri) {
      uri = this.put(`proposed-${key}`, change.path, change.newText, true);
      this.proposals.set(key, { change, uri });
    }
    await this.compare(`was-${key}`, change, uri, 'proposed, nothing is written yet');
  }

  /** Shows what was done. */
  async show(change: Diff): Promise<void> {
    const made = this.put('after', change.path, change.newText, false);
    await this.compare('before', change, made, 'what the agent changed');
  }

  /** The question whose proposal this is. */
  keyOf(uri: vscode.Uri | undefined): number | undefined {
    for (const [key, proposal] of this.proposals) {
      if (proposal.uri.toString() === uri?.toString()) return key;
    }
    return undefined;
  }

  /** The text that a person left of a proposal; undefined: all of it. */
  left(key: number): string | undefined {
    const proposal = this.proposals.get(key);
    if (!proposal) return undefined;
    const { change, uri } = proposal;
    const text = documentOf(uri)?.getText() ?? new TextDecoder().decode(this.readFile(uri));
    if (bare(text) === bare(change.newText)) return undefined;
    const old = change.oldText ?? '';
    return bare(text) === bare(old) ? old : text;
  }

  /** The question is over. */
  async forget(key: number): Promise<void> {
    const proposal = this.proposals.get(key);
    if (!proposal) return;
    this.proposals.delete(key);
    // Unsaved, closing it would ask what is to become of it.
    await documentOf(proposal.uri)?.save();
    const uri = proposal.uri.toString();
    const isOurs = ({ input }: vscode.Tab) =>
      input instanceof vscode.TabInputTextDiff && input.modified.toString() === uri;
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs).filter(isOurs);
    await vscode.window.tabGroups.close(tabs);
    this.texts.delete(uri);
  }

  private async compare(
    side: string,
    { path, oldText }: Diff,
    modified: vscode.Uri,
    what: string,
  ): Promise<void> {
    const original = this.put(side, path, oldText ?? '', false);
    const title = `${posix.basename(path)} (${what})`;
    await vscode.commands.executeCommand('vscode.diff', original, modified, title);
  }

  private put(side: string, path: string, text: string, editable: boolean): vscode.Uri {
    const uri = vscode.Uri.from({ scheme: CHANGE_SCHEME, path: `/${side}${path}` });
    const mtime = this.time++;
    this.texts.set(uri.toString(), { data: new TextEncoder().encode(text), editable, mtime });
    this.emitter.fire([{ type: vscode.FileChangeType.Changed, uri }]);
    return uri;
  }

  private text(uri: vscode.Uri): Text {
    const text = this.texts.get(uri.toString());
    if (!text) throw vscode.FileSystemError.FileNotFound(uri);
    return text;
  }

  stat(uri: vscode.Uri): vscode.FileStat {
    const { data, editable, mtime } = this.text(uri);
    const stat = { type: vscode.FileType.File, ctime: 0, mtime, size: data.length };
    return editable ? stat : { ...stat, permissions: vscode.FilePermission.Readonly };
  }

  readFile(uri: vscode.Uri): Uint8Array {
    return this.text(uri).data;
  }

  writeFile(uri: vscode.Uri, data: Uint8Array): void {
    const text = this.text(uri);
    if (!text.editable) throw vscode.FileSystemError.NoPermissions(uri);
    Object.assign(text, { data, mtime: this.time++ });
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  readDirectory(): [string, vscode.FileType][] {
    return [];
  }

  createDirectory(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  delete(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  rename(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }
}

function documentOf(uri: vscode.Uri): vscode.TextDocument | undefined {
  return vscode.workspace.textDocuments.find((one) => one.uri.toString() === uri.toString());
}

/** A text but for what an editor keeps to itself. */
function bare(text: string): string {
  return text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
}
