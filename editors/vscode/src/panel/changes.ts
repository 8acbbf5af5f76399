// Changes that the agent proposes or has made, in the diff editor. The proposed side is a document in memory that the
// person can edit: VS Code's arrows between the sides revert a part. Nothing here writes a file.

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
  private readonly registration = vscode.Disposable.from(
    vscode.workspace.registerFileSystemProvider(CHANGE_SCHEME, this),
    // Not before: an automatic save may be under way, and would fail without the text.
    vscode.workspace.onDidCloseTextDocument(({ uri }) => {
      // A change of the language closes the document, too, and its tab stays.
      const isShown =
        tabsOf((modified, original) => [modified, original].some(sameAs(uri))).length > 0;
      if (this.keyOf(uri) === undefined && !isShown) this.texts.delete(uri.toString());
    }),
  );
  private time = 1;
  /** Distinguishes this window's documents from those of before a reload. */
  private readonly born = Date.now().toString(36);

  constructor() {
    void vscode.window.tabGroups.close(tabsOf(({ scheme }) => scheme === CHANGE_SCHEME));
  }

  dispose(): void {
    this.registration.dispose();
    this.emitter.dispose();
  }

  /** Shows a proposed change for editing; the person's edits are kept if it is shown again. */
  async propose(key: number, change: Diff, unseen: string[]): Promise<void> {
    let uri = this.proposals.get(key)?.uri;
    if (!uri) {
      const isEditable = ![change.oldText ?? '', change.newText].some(hasMixedEnds);
      uri = this.put(`proposed-${this.born}-${key}`, change.path, change.newText, isEditable);
      this.proposals.set(key, { change, uri });
    }
    const what = ['proposed, nothing is written yet', ...unseen].join('; ');
    await this.compare(`was-${this.born}-${key}`, change, uri, what);
  }

  /** Shows a change that was made. */
  async show(change: Diff): Promise<void> {
    const made = this.put('after', change.path, change.newText, false);
    await this.compare('before', change, made, 'what the agent changed');
  }

  /** The key of the request for a proposed document. */
  keyOf(uri: vscode.Uri | undefined): number | undefined {
    for (const [key, proposal] of this.proposals) {
      if (proposal.uri.toString() === uri?.toString()) return key;
    }
    return undefined;
  }

  /** The proposed text with the person's edits; undefined if unchanged. */
  left(key: number): string | undefined {
    const proposal = this.proposals.get(key);
    if (!proposal) return undefined;
    const { change, uri } = proposal;
    const text = documentOf(uri)?.getText() ?? new TextDecoder().decode(this.readFile(uri));
    if (bare(text) === bare(change.newText)) return undefined;
    const old = change.oldText ?? '';
    return bare(text) === bare(old) ? old : text;
  }

  /** Closes the proposal of a settled request. */
  async forget(key: number): Promise<void> {
    const proposal = this.proposals.get(key);
    if (!proposal) return;
    this.proposals.delete(key);
    // When closing an unsaved document, VS Code would ask whether to save it.
    await documentOf(proposal.uri)?.save();
    await vscode.window.tabGroups.close(tabsOf(sameAs(proposal.uri)));
    // The person had closed it before the answer.
    if (!documentOf(proposal.uri)) this.texts.delete(proposal.uri.toString());
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
    const uri = this.uri(side, path);
    const mtime = this.time++;
    // With a byte order mark VS Code reads it as UTF-8, whatever encoding the person has set.
    const data = new TextEncoder().encode(`\ufeff${text.replace(/^\ufeff/, '')}`);
    this.texts.set(uri.toString(), { data, editable, mtime });
    this.emitter.fire([{ type: vscode.FileChangeType.Changed, uri }]);
    return uri;
  }

  private uri(side: string, path: string): vscode.Uri {
    return vscode.Uri.from({ scheme: CHANGE_SCHEME, path: `/${side}${path}` });
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

/** The diff editor tabs whose right side satisfies `isOurs`. */
function tabsOf(isOurs: (modified: vscode.Uri, original: vscode.Uri) => boolean): vscode.Tab[] {
  const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
  return tabs.filter(
    ({ input }) =>
      input instanceof vscode.TabInputTextDiff && isOurs(input.modified, input.original),
  );
}

function sameAs(uri: vscode.Uri): (other: vscode.Uri) => boolean {
  return (other) => other.toString() === uri.toString();
}

/** Whether line endings are mixed; an editor would make them uniform. */
function hasMixedEnds(text: string): boolean {
  return new Set(text.match(/\r\n?|\n/g)).size > 1;
}

/** A text without what an editor may change: the byte order mark and line endings. */
function bare(text: string): string {
  return text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
}
